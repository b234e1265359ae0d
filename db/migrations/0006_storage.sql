-- What placement and look-ups need of the storage tree: derived columns, rooms to choose from, counters that do
-- not make writers wait for each other.

-- ── derived columns of a location ─────────────────────────────────────────────────────────────────────
-- Kept by the writer for a location and everything below it, so that a look-up reads one row and not a tree.
ALTER TABLE location
  ADD COLUMN path jsonb NOT NULL DEFAULT '[]',      -- [{id, type, name}], from the root to the location itself
  ADD COLUMN unit_id uuid;                          -- where its temperature comes from: the door one opens

-- Renaming a site touches the paths of all below it; only the location a person edited gets a new version.
DROP TRIGGER ledgered ON location;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR DELETE ON location
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('location', 'id');
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON location
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((to_jsonb(OLD) - '{path,unit_id,effective_zone,effective_sample_types}'::text[])
        IS DISTINCT FROM (to_jsonb(NEW) - '{path,unit_id,effective_zone,effective_sample_types}'::text[]))
  EXECUTE FUNCTION require_entry('location', 'id');

-- A robot's address names one container of its store.
CREATE UNIQUE INDEX location_robot_address ON location (tenant_id, unit_id, robot_cassette, robot_level)
  WHERE robot_cassette IS NOT NULL AND retired_at IS NULL;
CREATE INDEX location_by_name ON location (tenant_id, name, id);
CREATE INDEX location_by_type ON location (tenant_id, type, id);
CREATE INDEX sample_by_type ON sample (tenant_id, type, id);
CREATE INDEX sample_by_zone ON sample (tenant_id, zone, id);
CREATE INDEX sample_abroad ON sample (tenant_id, custody, id) WHERE custody <> 'position';

-- ── rooms to choose from ──────────────────────────────────────────────────────────────────────────────
-- has_room and has_reserved change rarely, so that counting stays a heap-only update.
ALTER TABLE location_count
  ADD COLUMN zone text,                             -- zone in which it takes samples; null: hand-off, retired, no zone
  ADD COLUMN unit_id uuid,
  ADD COLUMN has_room boolean GENERATED ALWAYS AS (total > occupied + reserved + blocked) STORED,
  ADD COLUMN has_reserved boolean GENERATED ALWAYS AS (reserved > 0) STORED;
ALTER TABLE location_count SET (fillfactor = 60);
DROP INDEX location_count_free;
CREATE INDEX location_count_room ON location_count (tenant_id, zone, location_id) WHERE has_room;
CREATE INDEX location_count_room_in_unit ON location_count (tenant_id, unit_id, location_id) WHERE has_room;
-- Full, but with leases that may have run out.
CREATE INDEX location_count_held ON location_count (tenant_id, zone, location_id) WHERE has_reserved AND NOT has_room;
CREATE INDEX location_count_busy ON location_count (tenant_id, unit_id) WHERE has_reserved;

CREATE FUNCTION location_rooms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE location_count SET unit_id = NEW.unit_id,
    zone = CASE WHEN NEW.is_handoff OR NEW.retired_at IS NOT NULL THEN NULL ELSE NEW.effective_zone END
  WHERE tenant_id = NEW.tenant_id AND location_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER rooms AFTER UPDATE OF effective_zone, unit_id, is_handoff, retired_at ON location
  FOR EACH ROW EXECUTE FUNCTION location_rooms();

-- ── counters ──────────────────────────────────────────────────────────────────────────────────────────
-- The row of a box is what all who place into it have in common. It is therefore changed last of all, at commit, and
-- the rows of several boxes in the order of their ids: nobody waits longer than another's commit, and no two wait for
-- each other. Until then the transaction's changes wait in a setting local to it, which a savepoint takes back too.
CREATE OR REPLACE FUNCTION count_positions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  pending jsonb;
  d record;
  was jsonb;
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO location_count AS c (tenant_id, location_id, zone, unit_id, total, occupied, reserved, blocked)
      SELECT n.tenant_id, n.container_id,
             CASE WHEN l.is_handoff OR l.retired_at IS NOT NULL THEN NULL ELSE l.effective_zone END, l.unit_id,
             count(*), count(*) FILTER (WHERE n.state = 'occupied'),
             count(*) FILTER (WHERE n.state = 'reserved'), count(*) FILTER (WHERE n.state = 'blocked')
      FROM new_rows n JOIN location l ON l.tenant_id = n.tenant_id AND l.id = n.container_id
      GROUP BY n.tenant_id, n.container_id, l.is_handoff, l.retired_at, l.effective_zone, l.unit_id
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
           sum((n.state = 'blocked')::int - (o.state = 'blocked')::int) AS blocked
    FROM new_rows n JOIN old_rows o USING (tenant_id, id)
    WHERE n.state <> o.state GROUP BY n.tenant_id, n.container_id
  LOOP
    pending := coalesce(pending, coalesce(nullif(current_setting('app.counts', true), ''), '{}')::jsonb);
    was := coalesce(pending -> d.key, '[0, 0, 0]'::jsonb);
    pending := pending || jsonb_build_object(d.key, jsonb_build_array(
      (was ->> 0)::int + d.occupied, (was ->> 1)::int + d.reserved, (was ->> 2)::int + d.blocked));
  END LOOP;
  IF pending IS NOT NULL THEN PERFORM set_config('app.counts', pending::text, true); END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION apply_counts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  pending text := current_setting('app.counts', true);
  d record;
BEGIN
  IF coalesce(pending, '') = '' THEN RETURN NULL; END IF;   -- an earlier row of this transaction has done it
  PERFORM set_config('app.counts', '', true);
  FOR d IN SELECT key, value FROM jsonb_each(pending::jsonb) ORDER BY key LOOP
    UPDATE location_count SET occupied = occupied + (d.value ->> 0)::int, reserved = reserved + (d.value ->> 1)::int,
                              blocked = blocked + (d.value ->> 2)::int
    WHERE tenant_id = split_part(d.key, '/', 1)::uuid AND location_id = split_part(d.key, '/', 2)::uuid;
  END LOOP;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER counted_at_commit AFTER UPDATE ON position
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION apply_counts();
