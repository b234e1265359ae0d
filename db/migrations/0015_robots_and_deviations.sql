-- What the movement of tubes by robots needs beyond the first journal: what controllers tell of doors, alarms and
-- lock-outs, the faults that hold a robot, and deviations.

-- How the gateway speaks with it: register map over Modbus TCP, ASCII commands over TCP, or worklists over TCP.
ALTER TABLE robot ADD COLUMN driver text NOT NULL DEFAULT 'modbus' CHECK (driver IN ('modbus', 'ascii', 'worklist'));
-- Robots of a tenant that name the same gate never have a turn at the same time.
ALTER TABLE robot ADD COLUMN gate text CHECK (length(gate) BETWEEN 1 AND 100);

-- As the controller says; null: it does not tell.
ALTER TABLE robot_state ADD COLUMN door_open boolean;
ALTER TABLE robot_state ADD COLUMN unit_alarm boolean;
ALTER TABLE robot_state ADD COLUMN locked_out boolean;
-- When a lock-out was last seen, and when the controller was last seen to come back to automatic mode after a stop, a
-- lock-out or manual mode: that is its hardware reset.
ALTER TABLE robot_state ADD COLUMN lockout_seen_at timestamptz;
ALTER TABLE robot_state ADD COLUMN reset_seen_at timestamptz;

-- Something that stops a robot until a person releases it by its id, once. A fault of a job is also the job's question.
CREATE TABLE robot_fault (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  id         uuid NOT NULL,
  robot_id   uuid NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('job', 'safety', 'restored')),
  detail     text NOT NULL,                        -- a sentence for people
  job_id     uuid,
  raised_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  cleared_at timestamptz,
  cleared_by uuid,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id)
);
-- One safety fault at a time: a door that opens while the emergency stop is pressed is the same stop.
CREATE UNIQUE INDEX robot_fault_safety ON robot_fault (tenant_id, robot_id) WHERE cleared_at IS NULL AND kind = 'safety';
CREATE INDEX robot_fault_open ON robot_fault (tenant_id, robot_id) WHERE cleared_at IS NULL;

-- Where what is and what should be differ: a tube lost, damaged, found elsewhere; closed by a person with a word.
CREATE TABLE deviation (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  id          uuid NOT NULL DEFAULT uuidv7(),
  kind        text NOT NULL CHECK (kind IN ('sample_lost', 'sample_damaged', 'dropped', 'barcode_mismatch', 'quarantined',
                'exposure_exceeded', 'inventory_missing', 'inventory_unexpected', 'inventory_moved', 'unverified')),
  description text NOT NULL,                       -- a sentence for people
  sample_id   uuid,
  job_id      uuid,
  robot_id    uuid,
  facts       jsonb NOT NULL DEFAULT '{}',         -- ids and numbers; no barcodes
  opened_at   timestamptz NOT NULL,
  closed_at   timestamptz,
  closed_by   uuid,
  version     int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
CREATE INDEX deviation_open ON deviation (tenant_id, opened_at) WHERE closed_at IS NULL;
CREATE INDEX deviation_sample ON deviation (tenant_id, sample_id, opened_at);
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON deviation
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('deviation', 'id');

GRANT SELECT, INSERT, UPDATE ON robot_fault, deviation TO tracseq_app;
DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['robot_fault', 'deviation']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
