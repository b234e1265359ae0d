-- The storage tree, positions, samples and their custody.

CREATE TABLE location_type (
  tenant_id       uuid NOT NULL REFERENCES tenant (id),
  id              uuid NOT NULL DEFAULT uuidv7(),
  code            text NOT NULL CHECK (code ~ '^[a-z][a-z0-9_]*$'),
  name            text NOT NULL,
  allowed_parents text[] NOT NULL,                 -- codes; empty = may stand at the root
  zone            text,                            -- the zone it has unless the location says otherwise
  grid_rows       int CHECK (grid_rows BETWEEN 1 AND 1000),
  grid_columns    int CHECK (grid_columns BETWEEN 1 AND 1000),
  row_labels      text NOT NULL DEFAULT 'upper' CHECK (row_labels IN ('number', 'upper', 'lower', 'roman_upper', 'roman_lower')),
  column_labels   text NOT NULL DEFAULT 'number' CHECK (column_labels IN ('number', 'upper', 'lower', 'roman_upper', 'roman_lower')),
  version         int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, code),
  CHECK ((grid_rows IS NULL) = (grid_columns IS NULL))
);

-- One namespace of barcodes a tenant, retired ones included.
CREATE TABLE barcode (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  code       text NOT NULL CHECK (length(code) BETWEEN 1 AND 64
               AND code !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'),
  kind       text NOT NULL CHECK (kind IN ('sample', 'location')),
  owner_id   uuid NOT NULL,
  retired_at timestamptz,
  PRIMARY KEY (tenant_id, code)
);
CREATE INDEX barcode_owner ON barcode (tenant_id, owner_id);

CREATE TABLE location (
  tenant_id              uuid NOT NULL REFERENCES tenant (id),
  id                     uuid NOT NULL DEFAULT uuidv7(),
  type                   text NOT NULL,
  parent_id              uuid,
  name                   text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  barcode                text,
  zone                   text CHECK (zone IN ('LN2', '-80', '-20', '4', 'RT', '37')),
  sample_types           text[],                   -- accepted kinds of sample; null = as the parent says
  grid_rows              int CHECK (grid_rows BETWEEN 1 AND 1000),
  grid_columns           int CHECK (grid_columns BETWEEN 1 AND 1000),
  row_labels             text NOT NULL DEFAULT 'upper',
  column_labels          text NOT NULL DEFAULT 'number',
  is_handoff             boolean NOT NULL DEFAULT false,   -- where people and robots give each other tubes
  robot_cassette         int CHECK (robot_cassette BETWEEN 0 AND 65535),
  robot_level            int CHECK (robot_level BETWEEN 0 AND 65535),
  effective_zone         text,                     -- in force: own or inherited, kept by the writer
  effective_sample_types text[],
  retired_at             timestamptz,
  version                int NOT NULL DEFAULT 1,
  created_at             timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, type) REFERENCES location_type (tenant_id, code),
  FOREIGN KEY (tenant_id, parent_id) REFERENCES location (tenant_id, id),
  FOREIGN KEY (tenant_id, barcode) REFERENCES barcode (tenant_id, code),
  CHECK ((grid_rows IS NULL) = (grid_columns IS NULL)),
  CHECK ((robot_cassette IS NULL) = (robot_level IS NULL)),
  CHECK (parent_id IS DISTINCT FROM id)
);
CREATE UNIQUE INDEX location_name ON location (tenant_id, coalesce(parent_id, '00000000-0000-0000-0000-000000000000'), name)
  WHERE retired_at IS NULL;
CREATE UNIQUE INDEX location_barcode ON location (tenant_id, barcode);
CREATE INDEX location_parent ON location (tenant_id, parent_id);

CREATE TABLE location_ancestor (                   -- closure, each location its own ancestor at depth 0
  tenant_id     uuid NOT NULL REFERENCES tenant (id),
  ancestor_id   uuid NOT NULL,
  descendant_id uuid NOT NULL,
  depth         int NOT NULL CHECK (depth >= 0),
  PRIMARY KEY (tenant_id, ancestor_id, descendant_id),
  FOREIGN KEY (tenant_id, ancestor_id) REFERENCES location (tenant_id, id),
  FOREIGN KEY (tenant_id, descendant_id) REFERENCES location (tenant_id, id)
);
CREATE INDEX location_ancestor_up ON location_ancestor (tenant_id, descendant_id, depth);

CREATE TABLE location_count (                      -- positions of one container; audited against a count
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  location_id uuid NOT NULL,
  total       int NOT NULL DEFAULT 0,
  occupied    int NOT NULL DEFAULT 0,
  reserved    int NOT NULL DEFAULT 0,
  blocked     int NOT NULL DEFAULT 0,
  free        int GENERATED ALWAYS AS (total - occupied - reserved - blocked) STORED,
  PRIMARY KEY (tenant_id, location_id),
  FOREIGN KEY (tenant_id, location_id) REFERENCES location (tenant_id, id),
  CHECK (occupied >= 0 AND reserved >= 0 AND blocked >= 0 AND occupied + reserved + blocked <= total)
);
CREATE INDEX location_count_free ON location_count (tenant_id, location_id) WHERE free > 0;

CREATE TABLE robot (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  id         uuid NOT NULL DEFAULT uuidv7(),
  name       text NOT NULL,
  store_id   uuid NOT NULL,                        -- everything below it with a cassette and level is in its reach
  handoff_id uuid NOT NULL,                        -- the location whose positions are its hand-off
  host       text NOT NULL,
  port       int  NOT NULL CHECK (port BETWEEN 1 AND 65535),
  unit_id    int  NOT NULL DEFAULT 1 CHECK (unit_id BETWEEN 0 AND 255),
  version    int  NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  retired_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, store_id) REFERENCES location (tenant_id, id),
  FOREIGN KEY (tenant_id, handoff_id) REFERENCES location (tenant_id, id)
);
ALTER TABLE station ADD FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id);

CREATE TABLE sample (
  tenant_id      uuid NOT NULL REFERENCES tenant (id),
  id             uuid NOT NULL DEFAULT uuidv7(),
  barcode        text NOT NULL,
  type           text NOT NULL CHECK (length(type) BETWEEN 1 AND 100),
  project        text CHECK (length(project) BETWEEN 1 AND 100),
  zone           text NOT NULL CHECK (zone IN ('LN2', '-80', '-20', '4', 'RT', '37')),
  custody        text NOT NULL CHECK (custody IN ('position', 'carrier', 'handoff', 'person', 'transit', 'disposed', 'unknown')),
  position_id    uuid,                             -- for position and handoff
  robot_id       uuid,                             -- for carrier
  holder_id      uuid,                             -- for person
  candidates     jsonb,                            -- for unknown: the places it may be
  custody_since  timestamptz NOT NULL,
  witness        text NOT NULL CHECK (witness IN ('sensor', 'barcode', 'person', 'two_persons', 'asserted')),
  ai_optimized   boolean NOT NULL DEFAULT false,   -- the system chose the place
  job_id         uuid,                             -- the one live job that has it
  version        int NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, barcode) REFERENCES barcode (tenant_id, code),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  FOREIGN KEY (tenant_id, holder_id) REFERENCES app_user (tenant_id, id),
  UNIQUE (tenant_id, position_id, id),
  CHECK ((custody IN ('position', 'handoff')) = (position_id IS NOT NULL)),
  CHECK ((custody = 'carrier') = (robot_id IS NOT NULL)),
  CHECK ((custody = 'person') = (holder_id IS NOT NULL)),
  CHECK ((custody = 'unknown') = (candidates IS NOT NULL))
);
CREATE UNIQUE INDEX sample_barcode ON sample (tenant_id, barcode);
CREATE UNIQUE INDEX sample_position ON sample (tenant_id, position_id) WHERE position_id IS NOT NULL;
CREATE UNIQUE INDEX sample_carrier ON sample (tenant_id, robot_id) WHERE robot_id IS NOT NULL;
CREATE INDEX sample_project ON sample (tenant_id, project, id);

CREATE TABLE position (
  tenant_id        uuid NOT NULL REFERENCES tenant (id),
  id               uuid NOT NULL DEFAULT uuidv7(),
  container_id     uuid NOT NULL,
  grid_row         int NOT NULL CHECK (grid_row >= 0),       -- zero-based
  grid_column      int NOT NULL CHECK (grid_column >= 0),
  ordinal          int NOT NULL CHECK (ordinal >= 1),        -- 1..n, row by row from the top left: fill order and robot slot
  state            text NOT NULL DEFAULT 'free' CHECK (state IN ('free', 'reserved', 'occupied', 'blocked')),
  sample_id        uuid,
  job_id           uuid,                                     -- the lease's holder
  lease_expires_at timestamptz,                              -- null with a job: held until the job settles it
  blocked_reason   text,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, container_id, grid_row, grid_column),
  UNIQUE (tenant_id, container_id, ordinal),
  UNIQUE (tenant_id, id, sample_id),
  FOREIGN KEY (tenant_id, container_id) REFERENCES location (tenant_id, id),
  CHECK ((state = 'occupied') = (sample_id IS NOT NULL)),
  CHECK (state <> 'reserved' OR job_id IS NOT NULL),
  CHECK (state NOT IN ('free', 'blocked') OR job_id IS NULL),
  CHECK ((state = 'blocked') = (blocked_reason IS NOT NULL)),
  CHECK (lease_expires_at IS NULL OR state = 'reserved')
);
CREATE UNIQUE INDEX position_sample ON position (tenant_id, sample_id) WHERE sample_id IS NOT NULL;
CREATE INDEX position_job ON position (tenant_id, job_id) WHERE job_id IS NOT NULL;
CREATE INDEX position_open ON position (tenant_id, container_id, ordinal) WHERE state IN ('free', 'reserved');

-- A sample and the position it is in name each other, or neither does (checked at commit).
ALTER TABLE position ADD CONSTRAINT position_agrees_with_sample FOREIGN KEY (tenant_id, id, sample_id)
  REFERENCES sample (tenant_id, position_id, id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE sample ADD CONSTRAINT sample_agrees_with_position FOREIGN KEY (tenant_id, position_id, id)
  REFERENCES position (tenant_id, id, sample_id) DEFERRABLE INITIALLY DEFERRED;

CREATE FUNCTION count_positions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO location_count AS c (tenant_id, location_id, total, occupied, reserved, blocked)
      SELECT tenant_id, container_id, count(*), count(*) FILTER (WHERE state = 'occupied'),
             count(*) FILTER (WHERE state = 'reserved'), count(*) FILTER (WHERE state = 'blocked')
      FROM new_rows GROUP BY tenant_id, container_id ORDER BY container_id
    ON CONFLICT (tenant_id, location_id) DO UPDATE SET total = c.total + excluded.total,
      occupied = c.occupied + excluded.occupied, reserved = c.reserved + excluded.reserved,
      blocked = c.blocked + excluded.blocked;
  ELSE
    UPDATE location_count c SET occupied = c.occupied + d.occupied, reserved = c.reserved + d.reserved,
                                blocked = c.blocked + d.blocked
    FROM (SELECT n.tenant_id, n.container_id,
                 sum((n.state = 'occupied')::int - (o.state = 'occupied')::int) AS occupied,
                 sum((n.state = 'reserved')::int - (o.state = 'reserved')::int) AS reserved,
                 sum((n.state = 'blocked')::int - (o.state = 'blocked')::int) AS blocked
          FROM new_rows n JOIN old_rows o USING (tenant_id, id)
          WHERE n.state <> o.state GROUP BY n.tenant_id, n.container_id) d
    WHERE c.tenant_id = d.tenant_id AND c.location_id = d.container_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER counted_insert AFTER INSERT ON position REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_positions();
CREATE TRIGGER counted_update AFTER UPDATE ON position REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_positions();

-- Leases are bookkeeping; what is in a position, and whether it is blocked, is ledgered with the sample or
-- with the container.
CREATE FUNCTION require_position_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE s uuid;
BEGIN
  FOREACH s IN ARRAY array_remove(ARRAY[OLD.sample_id, NEW.sample_id], NULL) LOOP
    IF OLD.sample_id IS DISTINCT FROM NEW.sample_id AND NOT EXISTS (
      SELECT 1 FROM record_version WHERE tenant_id = NEW.tenant_id AND aggregate = 'sample'
        AND aggregate_id = s AND xid = pg_current_xact_id()) THEN
      RAISE EXCEPTION 'position % changed its sample without a ledger entry for sample %', NEW.id, s
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  END LOOP;
  IF (OLD.state = 'blocked') <> (NEW.state = 'blocked') AND NOT EXISTS (
    SELECT 1 FROM record_version WHERE tenant_id = NEW.tenant_id AND aggregate = 'location'
      AND aggregate_id = NEW.container_id AND xid = pg_current_xact_id()) THEN
    RAISE EXCEPTION 'position % was blocked or unblocked without a ledger entry for its container', NEW.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledgered AFTER UPDATE OF sample_id, state ON position
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.sample_id IS DISTINCT FROM NEW.sample_id OR (OLD.state = 'blocked') <> (NEW.state = 'blocked'))
  EXECUTE FUNCTION require_position_entry();
CREATE CONSTRAINT TRIGGER ledgered_with_container AFTER INSERT OR DELETE ON position
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('location', 'container_id');

CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON location_type
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('location_type', 'id');
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON location
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('location', 'id');
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON location_ancestor
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('location', 'descendant_id');
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON robot
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('robot', 'id');
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR DELETE ON sample
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('sample', 'id');
-- job_id is the reservation, bookkeeping; everything else about a sample is ledgered.
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON sample
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.version IS DISTINCT FROM NEW.version OR OLD.job_id IS NOT DISTINCT FROM NEW.job_id
        OR OLD.custody <> NEW.custody OR OLD.position_id IS DISTINCT FROM NEW.position_id
        OR OLD.robot_id IS DISTINCT FROM NEW.robot_id OR OLD.holder_id IS DISTINCT FROM NEW.holder_id
        OR OLD.candidates IS DISTINCT FROM NEW.candidates OR OLD.witness <> NEW.witness
        OR OLD.custody_since <> NEW.custody_since OR OLD.barcode <> NEW.barcode OR OLD.type <> NEW.type
        OR OLD.project IS DISTINCT FROM NEW.project OR OLD.zone <> NEW.zone OR OLD.ai_optimized <> NEW.ai_optimized)
  EXECUTE FUNCTION require_entry('sample', 'id');
CREATE FUNCTION require_barcode_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r barcode := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM record_version WHERE tenant_id = r.tenant_id AND aggregate = r.kind
                 AND aggregate_id = r.owner_id AND xid = pg_current_xact_id()) THEN
    RAISE EXCEPTION 'a barcode changed without a ledger entry for its owner %', r.owner_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON barcode
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_barcode_entry();

GRANT SELECT, INSERT, UPDATE ON location_type, barcode, location, location_count, robot, sample, position TO tracseq_app;
GRANT SELECT, INSERT, DELETE ON location_ancestor TO tracseq_app;

DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['location_type', 'barcode', 'location', 'location_ancestor', 'location_count', 'robot',
                           'sample', 'position']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
