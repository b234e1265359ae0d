-- What a place takes, beyond temperature and type of sample: class, project, hazard, one of a kind to a box, quarantine.
-- Said on any location, and in force on everything below it.

-- ── what a sample is, for the rules ───────────────────────────────────────────────────────────────────
ALTER TABLE sample
  ADD COLUMN class text CHECK (length(class) BETWEEN 1 AND 100),       -- a family of types, e.g. blood derivative
  ADD COLUMN hazard text CHECK (length(hazard) BETWEEN 1 AND 100),     -- e.g. BSL-2; null: none is known
  ADD COLUMN owner text CHECK (length(owner) BETWEEN 1 AND 100),
  ADD COLUMN quarantine boolean NOT NULL DEFAULT false;                -- must not stand among others
-- job_id is the reservation, bookkeeping; everything else about a sample is ledgered, whatever columns it gets.
DROP TRIGGER ledgered_update ON sample;
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON sample
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.version IS DISTINCT FROM NEW.version OR OLD.job_id IS NOT DISTINCT FROM NEW.job_id
        OR (to_jsonb(OLD) - 'job_id') IS DISTINCT FROM (to_jsonb(NEW) - 'job_id'))
  EXECUTE FUNCTION require_entry('sample', 'id');

-- ── what a place takes ────────────────────────────────────────────────────────────────────────────────
-- {"sampleClasses": […], "projects": […], "hazards": […], "exclusive": ["project"|"type"|"owner", …], "quarantine": true};
-- what is absent is no rule. In force a
-- container of type quarantine says "any". The columns in force are kept by the writer for everything below, like zone and types.
ALTER TABLE location
  ADD COLUMN rules jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(rules) = 'object'),
  ADD COLUMN effective_rules jsonb NOT NULL DEFAULT '{}';
DROP TRIGGER ledgered_update ON location;
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON location
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((to_jsonb(OLD) - '{path,unit_id,effective_zone,effective_sample_types,effective_rules}'::text[])
        IS DISTINCT FROM (to_jsonb(NEW) - '{path,unit_id,effective_zone,effective_sample_types,effective_rules}'::text[]))
  EXECUTE FUNCTION require_entry('location', 'id');

-- Of two lists what is in both; absent: no limit.
CREATE FUNCTION narrow(own jsonb, inherited jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN own IS NULL THEN inherited WHEN inherited IS NULL THEN own ELSE (
    SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM (
      SELECT jsonb_array_elements_text(own) INTERSECT SELECT jsonb_array_elements_text(inherited)) i (e)) END
$$;
-- The rules in force in a location: its own, narrowed by what is in force in its parent.
CREATE FUNCTION inherit_rules(own jsonb, inherited jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN own = '{}' THEN inherited WHEN inherited = '{}' THEN own ELSE jsonb_strip_nulls(jsonb_build_object(
    'sampleClasses', narrow(own -> 'sampleClasses', inherited -> 'sampleClasses'),
    'projects', narrow(own -> 'projects', inherited -> 'projects'),
    'hazards', narrow(own -> 'hazards', inherited -> 'hazards'),
    'exclusive', (SELECT jsonb_agg(DISTINCT e ORDER BY e) FROM jsonb_array_elements_text(
       coalesce(own -> 'exclusive', '[]') || coalesce(inherited -> 'exclusive', '[]')) e),
    'quarantine', coalesce(own -> 'quarantine', inherited -> 'quarantine'))) END
$$;
-- Does a place with these rules in force take such a sample? The same answer as checkRules in domain/placement.ts, which
-- says why; a test compares the two.
CREATE FUNCTION rules_accept(rules jsonb, need jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(NOT rules ? 'sampleClasses' OR (rules -> 'sampleClasses') ? (need ->> 'class'), false)
    AND coalesce(NOT rules ? 'projects' OR (rules -> 'projects') ? (need ->> 'project'), false)
    AND coalesce(NOT rules ? 'hazards' OR need ->> 'hazard' IS NULL OR (rules -> 'hazards') ? (need ->> 'hazard'), false)
    AND coalesce(rules ->> 'quarantine', 'false') IN ('any', need ->> 'quarantine')
$$;
-- Would such a sample be the first of another kind in a box that is for one of a kind?
CREATE FUNCTION exclusive_accepts(rules jsonb, claim jsonb, need jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT claim IS NULL OR NOT rules ? 'exclusive' OR NOT EXISTS (
    SELECT FROM jsonb_array_elements_text(rules -> 'exclusive') e WHERE claim -> e IS DISTINCT FROM need -> e)
$$;
-- What the rules ask of a sample.
CREATE FUNCTION sample_need(s sample) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('type', s.type, 'project', s.project, 'class', s.class, 'hazard', s.hazard, 'owner', s.owner,
                            'quarantine', s.quarantine)
$$;

-- What the first tube in a box of one kind was: who comes next looks there first. The tubes themselves decide.
ALTER TABLE location_count ADD COLUMN claim jsonb;

GRANT EXECUTE ON FUNCTION narrow(jsonb, jsonb), inherit_rules(jsonb, jsonb), rules_accept(jsonb, jsonb),
  exclusive_accepts(jsonb, jsonb, jsonb), sample_need(sample) TO tracseq_app;

-- ── rooms to choose from ──────────────────────────────────────────────────────────────────────────────
DROP FUNCTION rooms_for(text, text[], text, uuid, uuid, uuid);
-- Looks from four sides and returns a bounded number of containers, whatever the size of the store: those that hold the
-- project's newest tubes (also full ones, so that an answer can say so); those with room behind a door that is opened
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
  reserved int, blocked int, expired int, reachable boolean, project_here int, project_seen int, door_opens boolean
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

  IF ids = '{}' THEN
    FOREACH z IN ARRAY need_zones LOOP
      ids := ids || ARRAY(
        SELECT c.location_id FROM location_count c
        WHERE c.tenant_id = t AND c.zone = z AND c.has_reserved AND NOT c.has_room
          AND EXISTS (SELECT FROM position p WHERE p.tenant_id = t AND p.container_id = c.location_id
            AND p.state = 'reserved' AND p.lease_expires_at < now() OFFSET 0)
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
               AND p.state = 'reserved' AND p.lease_expires_at < now()) ELSE 0 END,
           CASE WHEN for_robot IS NULL THEN NULL ELSE l.robot_cassette IS NOT NULL END,
           coalesce(here[array_position(home, l.id)], 0), seen, coalesce(l.unit_id = ANY (open_units), false)
    FROM (SELECT DISTINCT each FROM unnest(home || ids) each) k
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
