-- Quarantine: a cold container for tubes that cannot go back to their place. The system chooses none of its positions for a
-- placement; a person may name one.
CREATE INDEX location_quarantine ON location (tenant_id, id) WHERE type = 'quarantine' AND retired_at IS NULL;

-- Without a zone of its own in the counters a container is no room to choose from: as with hand-offs.
DO $$
DECLARE f record; definition text;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'public'
           WHERE p.prosrc ~ 'is_handoff' LOOP
    definition := pg_get_functiondef(f.oid);
    definition := replace(definition, 'CASE WHEN NEW.is_handoff OR', 'CASE WHEN NEW.is_handoff OR NEW.type = ''quarantine'' OR');
    definition := replace(definition, 'CASE WHEN l.is_handoff OR', 'CASE WHEN l.is_handoff OR l.type = ''quarantine'' OR');
    definition := replace(definition, 'GROUP BY n.tenant_id, n.container_id, l.is_handoff, l.retired_at',
                                      'GROUP BY n.tenant_id, n.container_id, l.is_handoff, l.type, l.retired_at');
    definition := replace(definition, 'AND NOT l.is_handoff AND l.id IS DISTINCT FROM except_id',
                                      'AND NOT l.is_handoff AND l.type <> ''quarantine'' AND l.id IS DISTINCT FROM except_id');
    EXECUTE definition;
  END LOOP;
END $$;

-- How often nobody has answered an alarm's question in time.
ALTER TABLE alarm ADD COLUMN escalation int NOT NULL DEFAULT 0 CHECK (escalation >= 0);
