-- Containers as laboratories have them: numbered or unnamed positions, an order and an origin of their own, bags and bins
-- without a grid, grids that grow and shrink.

-- ── naming and filling ────────────────────────────────────────────────────────────────────────────────
-- Row and column count from the origin, and so does the ordinal, in the direction that is said.
ALTER TABLE location_type
  ADD COLUMN labelling text NOT NULL DEFAULT 'two_dimensional' CHECK (labelling IN ('two_dimensional', 'linear', 'none')),
  ADD COLUMN direction text NOT NULL DEFAULT 'horizontal' CHECK (direction IN ('horizontal', 'vertical')),
  ADD COLUMN origin text NOT NULL DEFAULT 'top_left' CHECK (origin IN ('top_left', 'top_right', 'bottom_left', 'bottom_right')),
  ADD COLUMN unlimited boolean NOT NULL DEFAULT false,      -- things lie loose in it, as many as there are
  ADD CHECK (NOT unlimited OR (labelling = 'none' AND grid_rows IS NOT NULL)),
  ADD CHECK (labelling <> 'none' OR grid_rows = 1);
ALTER TABLE location
  ADD COLUMN labelling text NOT NULL DEFAULT 'two_dimensional' CHECK (labelling IN ('two_dimensional', 'linear', 'none')),
  ADD COLUMN direction text NOT NULL DEFAULT 'horizontal' CHECK (direction IN ('horizontal', 'vertical')),
  ADD COLUMN origin text NOT NULL DEFAULT 'top_left' CHECK (origin IN ('top_left', 'top_right', 'bottom_left', 'bottom_right')),
  ADD COLUMN unlimited boolean NOT NULL DEFAULT false,
  ADD CHECK (NOT unlimited OR (labelling = 'none' AND grid_rows IS NOT NULL)),
  ADD CHECK (labelling <> 'none' OR grid_rows = 1);

-- ── positions that a smaller grid no longer has ───────────────────────────────────────────────────────
-- They stay for the history of the tubes that stood in them; nothing is stored there, and nothing counts them.
ALTER TABLE position
  ADD COLUMN retired_at timestamptz,
  ADD CHECK (retired_at IS NULL OR state = 'blocked');
ALTER TABLE position DROP CONSTRAINT position_tenant_id_container_id_ordinal_key;
CREATE UNIQUE INDEX position_ordinal ON position (tenant_id, container_id, ordinal) WHERE retired_at IS NULL;

-- ── bags without a limit ──────────────────────────────────────────────────────────────────────────────
-- A thing in a bag has a position like any other, so that every rule of custody holds for it; nobody names it. A bag
-- without a limit has spare ones, and gets more when they run short: that is bookkeeping, no change of the bag.
ALTER TABLE location_count ADD COLUMN unlimited boolean NOT NULL DEFAULT false;

CREATE FUNCTION require_container_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r public.position := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  IF TG_OP = 'INSERT' AND EXISTS (
    SELECT 1 FROM location WHERE tenant_id = r.tenant_id AND id = r.container_id AND unlimited) THEN
    RETURN NULL;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM record_version WHERE tenant_id = r.tenant_id AND aggregate = 'location'
                 AND aggregate_id = r.container_id AND xid = pg_current_xact_id()) THEN
    RAISE EXCEPTION 'position % came or went without a ledger entry for its container', r.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER ledgered_with_container ON position;
CREATE CONSTRAINT TRIGGER ledgered_with_container AFTER INSERT OR DELETE ON position
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_container_entry();
CREATE CONSTRAINT TRIGGER ledgered_resize AFTER UPDATE OF grid_row, grid_column, ordinal, retired_at, container_id ON position
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_container_entry();

-- ── a location that goes elsewhere ────────────────────────────────────────────────────────────────────
-- What is inside goes with it: its way to the root is derived, and the entry is that of what was moved.
CREATE FUNCTION require_tree_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r location_ancestor := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM location_ancestor a
                 JOIN record_version v ON v.tenant_id = a.tenant_id AND v.aggregate = 'location'
                   AND v.aggregate_id = a.ancestor_id AND v.xid = pg_current_xact_id()
                 WHERE a.tenant_id = r.tenant_id AND a.descendant_id = r.descendant_id) THEN
    RAISE EXCEPTION 'the way to location % changed without a ledger entry for it, or for what it stands in', r.descendant_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER ledgered ON location_ancestor;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON location_ancestor
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_tree_entry();

-- ── counters ──────────────────────────────────────────────────────────────────────────────────────────
CREATE OR REPLACE FUNCTION count_positions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  pending jsonb;
  d record;
  was jsonb;
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO location_count AS c (tenant_id, location_id, zone, unit_id, unlimited, total, occupied, reserved, blocked)
      SELECT n.tenant_id, n.container_id,
             CASE WHEN l.is_handoff OR l.type = 'quarantine' OR l.retired_at IS NOT NULL THEN NULL ELSE l.effective_zone END,
             l.unit_id, l.unlimited,
             count(*), count(*) FILTER (WHERE n.state = 'occupied'),
             count(*) FILTER (WHERE n.state = 'reserved'), count(*) FILTER (WHERE n.state = 'blocked')
      FROM new_rows n JOIN location l ON l.tenant_id = n.tenant_id AND l.id = n.container_id
      GROUP BY n.tenant_id, n.container_id, l.is_handoff, l.type, l.retired_at, l.effective_zone, l.unit_id, l.unlimited
      ORDER BY n.tenant_id, n.container_id
    ON CONFLICT (tenant_id, location_id) DO UPDATE SET total = c.total + excluded.total,
      occupied = c.occupied + excluded.occupied, reserved = c.reserved + excluded.reserved,
      blocked = c.blocked + excluded.blocked;
    RETURN NULL;
  END IF;
  FOR d IN
    SELECT n.tenant_id || '/' || n.container_id AS key,
           sum((n.state = 'occupied')::int - (o.state = 'occupied')::int) AS occupied,
           sum((n.state = 'reserved')::int - (o.state = 'reserved')::int) AS reserved,
           sum((n.state = 'blocked' AND n.retired_at IS NULL)::int - (o.state = 'blocked' AND o.retired_at IS NULL)::int) AS blocked,
           sum((n.retired_at IS NULL)::int - (o.retired_at IS NULL)::int) AS total
    FROM new_rows n JOIN old_rows o USING (tenant_id, id)
    WHERE n.state <> o.state GROUP BY n.tenant_id, n.container_id
  LOOP
    pending := coalesce(pending, coalesce(nullif(current_setting('app.counts', true), ''), '{}')::jsonb);
    was := coalesce(pending -> d.key, '[0, 0, 0, 0]'::jsonb);
    pending := pending || jsonb_build_object(d.key, jsonb_build_array(
      (was ->> 0)::int + d.occupied, (was ->> 1)::int + d.reserved, (was ->> 2)::int + d.blocked, (was ->> 3)::int + d.total));
  END LOOP;
  IF pending IS NOT NULL THEN PERFORM set_config('app.counts', pending::text, true); END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION apply_counts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  pending text := current_setting('app.counts', true);
  d record;
  c location_count;
BEGIN
  IF coalesce(pending, '') = '' THEN RETURN NULL; END IF;   -- an earlier row of this transaction has done it
  PERFORM set_config('app.counts', '', true);
  FOR d IN SELECT key, value FROM jsonb_each(pending::jsonb) ORDER BY key LOOP
    UPDATE location_count SET occupied = occupied + (d.value ->> 0)::int, reserved = reserved + (d.value ->> 1)::int,
                              blocked = blocked + (d.value ->> 2)::int, total = total + (d.value ->> 3)::int
    WHERE tenant_id = split_part(d.key, '/', 1)::uuid AND location_id = split_part(d.key, '/', 2)::uuid
    RETURNING * INTO c;
    IF c.unlimited AND c.free < 128 THEN
      INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal)
        SELECT c.tenant_id, c.location_id, 0, n - 1, n FROM generate_series(c.total + 1, c.total + 128) n;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

-- ── where a sample is ─────────────────────────────────────────────────────────────────────────────────
CREATE OR REPLACE FUNCTION locate_sample(of_tenant uuid, wanted_id uuid, wanted_barcode text) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant', of_tenant::text, true);
  IF wanted_id IS NULL THEN
    SELECT b.owner_id INTO wanted_id FROM barcode b
    WHERE b.tenant_id = of_tenant AND b.code = wanted_barcode AND b.kind = 'sample' AND b.retired_at IS NULL;
  END IF;
  RETURN QUERY
    SELECT jsonb_build_object(
      'id', s.id, 'custody', s.custody, 'position_id', s.position_id, 'robot_id', s.robot_id, 'holder_id', s.holder_id,
      'candidates', s.candidates, 'custody_since', s.custody_since, 'witness', s.witness,
      'container_id', p.container_id, 'grid_row', p.grid_row, 'grid_column', p.grid_column,
      'container_barcode', l.barcode, 'grid_rows', l.grid_rows, 'grid_columns', l.grid_columns,
      'row_labels', l.row_labels, 'column_labels', l.column_labels, 'labelling', l.labelling, 'direction', l.direction,
      'origin', l.origin, 'path', l.path, 'container_zone', l.effective_zone)
    FROM sample s
    LEFT JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
    LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    WHERE s.tenant_id = of_tenant AND s.id = wanted_id;
END $$;
