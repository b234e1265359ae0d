-- Work on many samples at once: imports, moves that people have done, and their undo.

-- Which column of somebody's sheet is which field, kept under a name.
CREATE TABLE import_profile (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  id         uuid NOT NULL DEFAULT uuidv7(),
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  kind       text NOT NULL CHECK (kind IN ('samples', 'placements')),
  columns    jsonb NOT NULL,                        -- {field: heading}
  defaults   jsonb NOT NULL,                        -- {field: value}
  version    int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON import_profile
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('import_profile', 'id');

CREATE TABLE bulk_operation (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  id          uuid NOT NULL DEFAULT uuidv7(),
  kind        text NOT NULL CHECK (kind IN ('import', 'move', 'undo')),
  import_kind text CHECK (import_kind IN ('samples', 'placements')),
  mode        text NOT NULL CHECK (mode IN ('all', 'valid')),
  -- READY: its rows are staged, nothing is written yet. A dry run never gets beyond CHECKED.
  state       text NOT NULL CHECK (state IN ('STAGING', 'CHECKED', 'READY', 'DONE', 'REFUSED')),
  undoes_id   uuid,                                 -- the operation that this one takes back
  undo_how    text CHECK (undo_how IN ('correct', 'move_back')),
  headings    jsonb NOT NULL DEFAULT '{}',          -- of the file's columns, by field
  rows        int NOT NULL DEFAULT 0,
  doable      int NOT NULL DEFAULT 0,               -- rows without a problem
  applied     int NOT NULL DEFAULT 0,
  problems    int NOT NULL DEFAULT 0,
  actor_id    uuid NOT NULL,
  actor_role  text NOT NULL,
  station_id  uuid,
  created_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  version     int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, undoes_id) REFERENCES bulk_operation (tenant_id, id),
  CHECK ((kind = 'undo') = (undoes_id IS NOT NULL)),
  CHECK ((kind = 'undo') = (undo_how IS NOT NULL)),
  CHECK ((kind = 'import') = (import_kind IS NOT NULL))
);
-- An operation is taken back once.
CREATE UNIQUE INDEX bulk_operation_undone ON bulk_operation (tenant_id, undoes_id) WHERE state <> 'REFUSED';
CREATE INDEX bulk_operation_ready ON bulk_operation (tenant_id, id) WHERE state = 'READY';

-- What is asked for in each row, and what came of it: staged text first, then what it names, then what was done.
CREATE TABLE bulk_row (
  tenant_id        uuid NOT NULL REFERENCES tenant (id),
  operation_id     uuid NOT NULL,
  line             int NOT NULL,                    -- as in the file, or the index in the request from 1
  cells            jsonb NOT NULL,                  -- {field: text}
  barcode          text,
  zone             text,
  sample_type      text,
  container_id     uuid,
  grid_row         int,
  grid_column      int,
  sample_id        uuid,
  from_custody     jsonb,                           -- where it was before
  to_position_id   uuid,
  sample_version   int,                             -- the sample's version after it; null: nothing was done
  has_problem      boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, operation_id, line),
  FOREIGN KEY (tenant_id, operation_id) REFERENCES bulk_operation (tenant_id, id)
);
CREATE INDEX bulk_row_open ON bulk_row (tenant_id, operation_id, line) WHERE sample_version IS NULL AND NOT has_problem;

CREATE TABLE bulk_problem (
  tenant_id    uuid NOT NULL REFERENCES tenant (id),
  operation_id uuid NOT NULL,
  id           uuid NOT NULL DEFAULT uuidv7(),
  line         int NOT NULL,
  field        text,                                -- null: the row as a whole
  code         text NOT NULL,
  detail       text NOT NULL,
  PRIMARY KEY (tenant_id, operation_id, line, id),
  FOREIGN KEY (tenant_id, operation_id) REFERENCES bulk_operation (tenant_id, id)
);

GRANT SELECT, INSERT, UPDATE ON import_profile, bulk_operation TO tracseq_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON bulk_row, bulk_problem TO tracseq_app;
DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['import_profile', 'bulk_operation', 'bulk_row', 'bulk_problem']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
