-- Positions set aside: a study's block, with an owner, a reason and an end.

CREATE TABLE reservation (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  id          uuid NOT NULL DEFAULT uuidv7(),
  project     text NOT NULL CHECK (length(project) BETWEEN 1 AND 100),   -- whose samples go there
  owner_id    uuid NOT NULL,                                            -- the person who answers for it
  reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
  expires_at  timestamptz NOT NULL,
  released_at timestamptz,
  version     int NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, owner_id) REFERENCES app_user (tenant_id, id)
);
CREATE INDEX reservation_project ON reservation (tenant_id, project, id) WHERE released_at IS NULL;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON reservation
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('reservation', 'id');
GRANT SELECT, INSERT, UPDATE ON reservation TO tracseq_app;
ALTER TABLE reservation ENABLE ROW LEVEL SECURITY;
ALTER TABLE reservation FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON reservation USING (tenant_id = (SELECT current_setting('app.tenant')::uuid))
  WITH CHECK (tenant_id = (SELECT current_setting('app.tenant')::uuid));

-- A position that is set aside is reserved without a job; a job of the project takes it, and when a tube leaves it, it is
-- set aside again. Past its end it is anybody's; the sweep frees it.
ALTER TABLE position
  ADD COLUMN reservation_id uuid,
  ADD COLUMN reserved_until timestamptz,
  ADD FOREIGN KEY (tenant_id, reservation_id) REFERENCES reservation (tenant_id, id),
  ADD CHECK ((reservation_id IS NULL) = (reserved_until IS NULL));
CREATE INDEX position_reservation ON position (tenant_id, reservation_id) WHERE reservation_id IS NOT NULL;
DO $$
DECLARE c text;
BEGIN
  SELECT conname INTO STRICT c FROM pg_constraint WHERE conrelid = 'position'::regclass AND contype = 'c'
    AND pg_get_constraintdef(oid) LIKE '%state <> ''reserved''%job_id IS NOT NULL%';
  EXECUTE format('ALTER TABLE position DROP CONSTRAINT %I', c);
END $$;
ALTER TABLE position ADD CHECK (state <> 'reserved' OR job_id IS NOT NULL OR reservation_id IS NOT NULL);

CREATE FUNCTION set_aside_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.reserved_until > now() THEN
    NEW.state := 'reserved';
  ELSE
    NEW.reservation_id := NULL;
    NEW.reserved_until := NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER set_aside_again BEFORE UPDATE OF state ON position FOR EACH ROW
  WHEN (NEW.state = 'free' AND NEW.reservation_id IS NOT NULL) EXECUTE FUNCTION set_aside_again();

-- ── rooms to choose from ──────────────────────────────────────────────────────────────────────────────
DROP FUNCTION rooms_for(jsonb, text[], uuid, uuid, uuid);
-- Looks from five sides and returns a bounded number of containers, whatever the size of the store: those that hold the
-- project's newest tubes (also full ones, so that an answer can say so); those where positions are set aside for it; those with room behind a door that is opened
-- anyway; those with room in the order of their creation; and, where there is no room, full ones with leases that have
-- run out. Runs with the caller's rights, under row-level security.
CREATE FUNCTION rooms_for(
  need jsonb,                 -- what the rules ask of the sample: type, project, class, hazard, owner, quarantine
  need_zones text[],          -- zones in force that serve the sample
  within_id uuid,             -- only in and below this location
  for_robot uuid,             -- only where this robot reaches
  except_id uuid              -- not in this container
) RETURNS TABLE (
  id uuid, name text, type_name text, barcode text, unit_id uuid, zone text, sample_types text[], grid_rows int,
  grid_columns int, row_labels text, column_labels text, labelling text, direction text, origin text, rules jsonb,
  claim jsonb, is_handoff boolean, is_retired boolean, total int, occupied int,
  reserved int, blocked int, expired int, reachable boolean, project_here int, project_seen int, door_opens boolean, set_aside int
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
  t uuid := current_setting('app.tenant')::uuid;
  need_type text := need ->> 'type';
  need_project text := need ->> 'project';
  store uuid;
  scope uuid[];
  scope_unit uuid;
  home uuid[] := '{}';
  here int[] := '{}';
  seen int := 0;
  open_units uuid[];
  ids uuid[] := '{}';
  aside uuid[] := '{}';
  places int[] := '{}';
  u uuid;
  z text;
BEGIN
  IF for_robot IS NOT NULL THEN
    SELECT r.store_id INTO store FROM robot r WHERE r.tenant_id = t AND r.id = for_robot AND r.retired_at IS NULL;
    IF store IS NULL THEN RETURN; END IF;
  END IF;
  scope := ARRAY(SELECT DISTINCT s FROM unnest(ARRAY[within_id, store]) s WHERE s IS NOT NULL);

  IF need_project IS NOT NULL THEN
    WITH recent AS MATERIALIZED (
      SELECT s.position_id, s.job_id FROM sample s
      WHERE s.tenant_id = t AND s.project = need_project ORDER BY s.id DESC LIMIT 64
    ), held AS (
      SELECT p.container_id FROM recent r CROSS JOIN LATERAL (
        SELECT o.container_id FROM position o WHERE o.tenant_id = t AND o.id = r.position_id OFFSET 0) p
      UNION ALL
      SELECT p.container_id FROM recent r CROSS JOIN LATERAL (
        SELECT o.container_id FROM position o WHERE o.tenant_id = t AND o.job_id = r.job_id AND o.state = 'reserved' OFFSET 0) p
      WHERE r.job_id IS NOT NULL
    ), most AS (SELECT container_id, count(*)::int AS n FROM held GROUP BY container_id ORDER BY n DESC LIMIT 16)
    SELECT coalesce(array_agg(container_id), '{}'), coalesce(array_agg(n), '{}'), (SELECT count(*) FROM recent)
      INTO home, here, seen FROM most;
  END IF;

  IF need_project IS NOT NULL THEN
    SELECT coalesce(array_agg(h.container_id), '{}'), coalesce(array_agg(h.n), '{}') INTO aside, places FROM (
      SELECT p.container_id, count(*)::int AS n FROM reservation r
      JOIN position p ON p.tenant_id = t AND p.reservation_id = r.id AND p.state = 'reserved' AND p.job_id IS NULL
      WHERE r.tenant_id = t AND r.project = need_project AND r.released_at IS NULL AND r.expires_at > now()
      GROUP BY p.container_id ORDER BY p.container_id LIMIT 16) h;
  END IF;

  open_units := ARRAY(
    SELECT c.unit_id FROM unnest(home) h (id) CROSS JOIN LATERAL (
      SELECT o.unit_id FROM location_count o
      WHERE o.tenant_id = t AND o.location_id = h.id AND o.zone = ANY (need_zones) OFFSET 0) c
    UNION
    (SELECT o.unit_id FROM location_count o WHERE o.tenant_id = t AND o.has_reserved AND o.zone = ANY (need_zones) LIMIT 16));

  FOREACH u IN ARRAY open_units LOOP
    ids := ids || ARRAY(
      SELECT c.location_id FROM location_count c
      WHERE c.tenant_id = t AND c.unit_id = u AND c.has_room AND c.zone = ANY (need_zones)
        AND EXISTS (SELECT FROM location f WHERE f.tenant_id = t AND f.id = c.location_id
          AND (f.effective_sample_types IS NULL OR need_type = ANY (f.effective_sample_types))
          AND rules_accept(f.effective_rules, need)
          AND (c.claim IS NULL OR c.occupied + c.reserved = 0 OR exclusive_accepts(f.effective_rules, c.claim, need))
          AND (store IS NULL OR f.robot_cassette IS NOT NULL) AND f.id IS DISTINCT FROM except_id OFFSET 0)
        AND (SELECT count(*) FROM location_ancestor a WHERE a.tenant_id = t AND a.ancestor_id = ANY (scope)
             AND a.descendant_id = c.location_id) = cardinality(scope)
      ORDER BY c.location_id LIMIT 4);
  END LOOP;

  -- What lies inside a unit is looked for among the unit's rooms, the rest among the zone's.
  SELECT l.unit_id INTO scope_unit FROM location l WHERE l.tenant_id = t AND l.id = coalesce(within_id, store);
  IF scope_unit IS NOT NULL THEN
    ids := ids || ARRAY(
      SELECT c.location_id FROM location_count c
      WHERE c.tenant_id = t AND c.unit_id = scope_unit AND c.has_room AND c.zone = ANY (need_zones)
        AND EXISTS (SELECT FROM location f WHERE f.tenant_id = t AND f.id = c.location_id
          AND (f.effective_sample_types IS NULL OR need_type = ANY (f.effective_sample_types))
          AND rules_accept(f.effective_rules, need)
          AND (c.claim IS NULL OR c.occupied + c.reserved = 0 OR exclusive_accepts(f.effective_rules, c.claim, need))
          AND (store IS NULL OR f.robot_cassette IS NOT NULL) AND f.id IS DISTINCT FROM except_id OFFSET 0)
        AND (SELECT count(*) FROM location_ancestor a WHERE a.tenant_id = t AND a.ancestor_id = ANY (scope)
             AND a.descendant_id = c.location_id) = cardinality(scope)
      ORDER BY c.location_id LIMIT 16);
  ELSE
    FOREACH z IN ARRAY need_zones LOOP
      ids := ids || ARRAY(
        SELECT c.location_id FROM location_count c
        WHERE c.tenant_id = t AND c.zone = z AND c.has_room
          AND EXISTS (SELECT FROM location f WHERE f.tenant_id = t AND f.id = c.location_id
            AND (f.effective_sample_types IS NULL OR need_type = ANY (f.effective_sample_types))
            AND rules_accept(f.effective_rules, need)
            AND (c.claim IS NULL OR c.occupied + c.reserved = 0 OR exclusive_accepts(f.effective_rules, c.claim, need))
            AND (store IS NULL OR f.robot_cassette IS NOT NULL) AND f.id IS DISTINCT FROM except_id OFFSET 0)
          AND (SELECT count(*) FROM location_ancestor a WHERE a.tenant_id = t AND a.ancestor_id = ANY (scope)
               AND a.descendant_id = c.location_id) = cardinality(scope)
        ORDER BY c.location_id LIMIT 16);
    END LOOP;
  END IF;

  IF ids = '{}' AND aside = '{}' THEN
    FOREACH z IN ARRAY need_zones LOOP
      ids := ids || ARRAY(
        SELECT c.location_id FROM location_count c
        WHERE c.tenant_id = t AND c.zone = z AND c.has_reserved AND NOT c.has_room
          AND EXISTS (SELECT FROM position p WHERE p.tenant_id = t AND p.container_id = c.location_id
            AND p.state = 'reserved' AND (p.lease_expires_at < now() OR p.reserved_until < now()) OFFSET 0)
          AND EXISTS (SELECT FROM location f WHERE f.tenant_id = t AND f.id = c.location_id
            AND (f.effective_sample_types IS NULL OR need_type = ANY (f.effective_sample_types))
            AND rules_accept(f.effective_rules, need)
            AND (c.claim IS NULL OR c.occupied + c.reserved = 0 OR exclusive_accepts(f.effective_rules, c.claim, need))
            AND (store IS NULL OR f.robot_cassette IS NOT NULL) AND f.id IS DISTINCT FROM except_id OFFSET 0)
          AND (SELECT count(*) FROM location_ancestor a WHERE a.tenant_id = t AND a.ancestor_id = ANY (scope)
               AND a.descendant_id = c.location_id) = cardinality(scope)
        ORDER BY c.location_id LIMIT 16);
    END LOOP;
  END IF;

  RETURN QUERY
    SELECT l.id, l.name, y.name, l.barcode, l.unit_id, l.effective_zone, l.effective_sample_types, l.grid_rows,
           l.grid_columns, l.row_labels, l.column_labels, l.labelling, l.direction, l.origin, l.effective_rules,
           CASE WHEN c.occupied + c.reserved > 0 THEN c.claim END, l.is_handoff, l.retired_at IS NOT NULL, c.total, c.occupied,
           c.reserved, c.blocked,
           CASE WHEN c.has_reserved THEN (
             SELECT count(*)::int FROM position p WHERE p.tenant_id = t AND p.container_id = l.id
               AND p.state = 'reserved' AND (p.lease_expires_at < now() OR p.reserved_until < now())) ELSE 0 END,
           CASE WHEN for_robot IS NULL THEN NULL ELSE l.robot_cassette IS NOT NULL END,
           coalesce(here[array_position(home, l.id)], 0), seen, coalesce(l.unit_id = ANY (open_units), false),
           coalesce(places[array_position(aside, l.id)], 0)
    FROM (SELECT DISTINCT each FROM unnest(home || ids || aside) each) k
    CROSS JOIN LATERAL (SELECT o.* FROM location o WHERE o.tenant_id = t AND o.id = k.each OFFSET 0) l
    CROSS JOIN LATERAL (SELECT o.* FROM location_count o WHERE o.tenant_id = t AND o.location_id = k.each OFFSET 0) c
    CROSS JOIN LATERAL (SELECT o.name FROM location_type o WHERE o.tenant_id = t AND o.code = l.type OFFSET 0) y
    WHERE l.grid_rows IS NOT NULL AND NOT l.is_handoff AND l.type <> 'quarantine' AND l.id IS DISTINCT FROM except_id
      AND (SELECT count(*) FROM location_ancestor a WHERE a.tenant_id = t AND a.ancestor_id = ANY (scope)
           AND a.descendant_id = l.id) = cardinality(scope)
    ORDER BY l.id;
END $$;
REVOKE ALL ON FUNCTION rooms_for(jsonb, text[], uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rooms_for(jsonb, text[], uuid, uuid, uuid) TO tracseq_app;
