-- How long tubes are outside their cold, how long they may be, and the word with which a deviation is closed.

-- Set when the tube leaves its cold, cleared when it is back; null also for a new tube that was never stored here.
ALTER TABLE sample ADD COLUMN warm_since timestamptz;
-- Over its life, without the interval that is running.
ALTER TABLE sample ADD COLUMN exposure_ms bigint NOT NULL DEFAULT 0 CHECK (exposure_ms >= 0);
ALTER TABLE sample ADD COLUMN freeze_thaw_count int NOT NULL DEFAULT 0 CHECK (freeze_thaw_count >= 0);

DROP TRIGGER ledgered_update ON sample;
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON sample
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.version IS DISTINCT FROM NEW.version OR OLD.job_id IS NOT DISTINCT FROM NEW.job_id
        OR OLD.custody <> NEW.custody OR OLD.position_id IS DISTINCT FROM NEW.position_id
        OR OLD.robot_id IS DISTINCT FROM NEW.robot_id OR OLD.holder_id IS DISTINCT FROM NEW.holder_id
        OR OLD.candidates IS DISTINCT FROM NEW.candidates OR OLD.witness <> NEW.witness
        OR OLD.custody_since <> NEW.custody_since OR OLD.barcode <> NEW.barcode OR OLD.type <> NEW.type
        OR OLD.project IS DISTINCT FROM NEW.project OR OLD.zone <> NEW.zone OR OLD.ai_optimized <> NEW.ai_optimized
        OR OLD.warm_since IS DISTINCT FROM NEW.warm_since OR OLD.exposure_ms <> NEW.exposure_ms
        OR OLD.freeze_thaw_count <> NEW.freeze_thaw_count)
  EXECUTE FUNCTION require_entry('sample', 'id');

-- What a laboratory has set for a temperature class instead of the presets of domain/exposure.ts.
CREATE TABLE exposure_budget (
  tenant_id      uuid NOT NULL REFERENCES tenant (id),
  id             uuid NOT NULL DEFAULT uuidv7(),
  zone           text NOT NULL CHECK (zone IN ('LN2', '-80', '-20', '4', 'RT', '37')),
  budget_seconds int CHECK (budget_seconds BETWEEN 1 AND 86400),          -- null = no limit
  hand_seconds   int NOT NULL CHECK (hand_seconds BETWEEN 1 AND 86400),   -- a move by hand
  pickup_seconds int CHECK (pickup_seconds BETWEEN 1 AND 86400),          -- null = what the budget leaves
  version        int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, zone)
);
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON exposure_budget
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('exposure_budget', 'id');
GRANT SELECT, INSERT, UPDATE ON exposure_budget TO tracseq_app;
ALTER TABLE exposure_budget ENABLE ROW LEVEL SECURITY;
ALTER TABLE exposure_budget FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON exposure_budget USING (tenant_id = (SELECT current_setting('app.tenant')::uuid))
  WITH CHECK (tenant_id = (SELECT current_setting('app.tenant')::uuid));

ALTER TABLE deviation ADD COLUMN closing_comment text
  CHECK (closing_comment IS NULL OR (length(closing_comment) BETWEEN 1 AND 1000 AND closed_at IS NOT NULL));
