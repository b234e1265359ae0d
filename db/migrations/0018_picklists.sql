-- Lists of tubes that one order fetches, stores or moves, each tube by a job of its own.

-- The order and its end are ledgered; how far it is, is told by its items.
CREATE TABLE picklist (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  id          uuid NOT NULL DEFAULT uuidv7(),
  kind        text NOT NULL CHECK (kind IN ('placement', 'retrieval', 'move')),
  mode        text NOT NULL CHECK (mode IN ('hand', 'robot')),
  name        text CHECK (length(name) BETWEEN 1 AND 100),
  priority    int NOT NULL,                        -- of each job; higher goes first
  window_size int NOT NULL CHECK (window_size BETWEEN 1 AND 20),  -- jobs under way at a time
  state       text NOT NULL DEFAULT 'RUNNING' CHECK (state IN ('RUNNING', 'CANCELLING', 'COMPLETED',
                'COMPLETED_WITH_DEVIATION', 'FAILED', 'CANCELLED')),
  actor_id    uuid NOT NULL,
  actor_role  text NOT NULL,
  station_id  uuid,
  cancel      jsonb,                               -- who asked to cancel, and why
  version     int NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  CHECK ((state IN ('RUNNING', 'CANCELLING')) = (finished_at IS NULL)),
  CHECK ((state = 'CANCELLING') <= (cancel IS NOT NULL))
);
CREATE INDEX picklist_live ON picklist (tenant_id, id) WHERE finished_at IS NULL;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON picklist
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('picklist', 'id');

CREATE TABLE picklist_item (
  tenant_id    uuid NOT NULL REFERENCES tenant (id),
  picklist_id  uuid NOT NULL,
  seq          int NOT NULL CHECK (seq >= 1),      -- in the planned order
  given        int NOT NULL CHECK (given >= 1),    -- in the order of the request
  reference    text NOT NULL,                      -- what the request called the tube
  sample_id    uuid,                               -- null: nobody knows it
  request      jsonb,                              -- input of its job; null: refused before it got one
  place        jsonb,                              -- where the plan goes for it; null: the system chooses
  state        text NOT NULL DEFAULT 'PLANNED' CHECK (state IN ('PLANNED', 'STARTING', 'RUNNING', 'COMPLETED',
                 'COMPLETED_WITH_DEVIATION', 'REFUSED', 'FAILED', 'CANCELLED')),
  job_id       uuid,                               -- the last, where a full hand-off refused one before
  handoff_id   uuid,                               -- the full hand-off that it waits for
  waits_since  timestamptz,                        -- since a full hand-off refused it first
  stop_sent_at timestamptz,                        -- its job was told that the list is cancelled
  result       jsonb,                              -- how it ended, in a sentence; a refusal with its code
  finished_at  timestamptz,
  PRIMARY KEY (tenant_id, picklist_id, seq),
  UNIQUE (tenant_id, picklist_id, given),
  FOREIGN KEY (tenant_id, picklist_id) REFERENCES picklist (tenant_id, id),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id),
  CHECK ((state IN ('PLANNED', 'STARTING', 'RUNNING')) = (finished_at IS NULL)),
  CHECK ((state IN ('STARTING', 'RUNNING')) <= (job_id IS NOT NULL)),
  CHECK (request IS NOT NULL OR state = 'REFUSED')
);
-- No job is two tubes' at once, nor in two lists.
CREATE UNIQUE INDEX picklist_item_job ON picklist_item (tenant_id, job_id) WHERE job_id IS NOT NULL;
CREATE INDEX picklist_item_open ON picklist_item (tenant_id, picklist_id, seq) WHERE finished_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON picklist, picklist_item TO tracseq_app;
DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['picklist', 'picklist_item']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
