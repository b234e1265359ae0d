-- Jobs and their steps, the journal of motion, turns of robots, alarms.

CREATE TABLE job (
  tenant_id    uuid NOT NULL REFERENCES tenant (id),
  id           uuid NOT NULL DEFAULT uuidv7(),
  kind         text NOT NULL CHECK (kind IN ('placement', 'retrieval', 'move')),
  mode         text NOT NULL CHECK (mode IN ('hand', 'robot')),
  state        text NOT NULL DEFAULT 'QUEUED' CHECK (state IN ('QUEUED', 'RUNNING', 'AWAITING_PERSON', 'AWAITING_OPERATOR',
                 'SAFETY_HOLD', 'COMPENSATING', 'COMPLETED', 'COMPLETED_WITH_DEVIATION', 'REFUSED', 'FAILED', 'CANCELLED')),
  phase        text NOT NULL DEFAULT 'REQUESTED',
  workflow_id  text NOT NULL,                      -- the workflow that answers for it now
  sample_id    uuid NOT NULL,                      -- may name a sample that its first step registers
  robot_id     uuid,
  priority     int  NOT NULL DEFAULT 20,           -- higher goes first
  actor_id     uuid NOT NULL,
  actor_role   text NOT NULL,
  station_id   uuid,
  input        jsonb NOT NULL,                     -- the workflow's input, as started
  result       jsonb,                              -- outcome: position, refusal, deviation
  question     jsonb,                              -- what it waits for; with fault_id when the operator is asked
  fault_id     uuid,
  cancel_requested_at timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now(),
  started_at   timestamptz,
  updated_at   timestamptz NOT NULL DEFAULT now(),
  finished_at  timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  CHECK ((state IN ('COMPLETED', 'COMPLETED_WITH_DEVIATION', 'REFUSED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL)),
  CHECK ((state = 'AWAITING_OPERATOR') <= (question IS NOT NULL AND fault_id IS NOT NULL))
);
CREATE INDEX job_live ON job (tenant_id, created_at) WHERE finished_at IS NULL;
CREATE INDEX job_sample ON job (tenant_id, sample_id, created_at);
CREATE INDEX job_recent ON job (tenant_id, created_at DESC, id DESC);
ALTER TABLE sample ADD FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id);
ALTER TABLE position ADD FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id);
ALTER TABLE idempotency_key ADD FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id);

CREATE TABLE job_step (
  tenant_id uuid NOT NULL REFERENCES tenant (id),
  job_id    uuid NOT NULL,
  seq       bigint GENERATED ALWAYS AS IDENTITY,
  step      text NOT NULL,                         -- the saga's own step, with attempt where it has one
  outcome   text NOT NULL,                         -- done, refused, failed, undone, parked, decided …
  detail    jsonb NOT NULL DEFAULT '{}',
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, job_id, seq),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id)
);

CREATE TABLE step_result (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  step_key    text NOT NULL,                       -- workflowId/step
  params_hash bytea NOT NULL,
  result      jsonb NOT NULL,
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, step_key)
);

-- epoch: which gateway owns the controller. fence: which job has its turn. Both only ever rise.
CREATE TABLE robot_turn (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  robot_id    uuid NOT NULL,
  epoch       bigint NOT NULL DEFAULT 0,
  gateway     text,                                -- instance that took the epoch
  fence       bigint NOT NULL DEFAULT 0,
  job_id      uuid,                                -- whose turn it is; ends by release or reconciliation, never by time
  last_number bigint NOT NULL DEFAULT 0 CHECK (last_number < 4294967296),
  PRIMARY KEY (tenant_id, robot_id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id)
);
CREATE FUNCTION refuse_falling_counter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.epoch < OLD.epoch OR NEW.fence < OLD.fence OR NEW.last_number < OLD.last_number THEN
    RAISE EXCEPTION 'epoch, fence and command number of a robot only rise' USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.job_id IS NOT NULL AND OLD.job_id IS DISTINCT FROM NEW.job_id AND NEW.fence = OLD.fence THEN
    RAISE EXCEPTION 'a turn is granted with a new fence' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER counters_rise BEFORE UPDATE ON robot_turn FOR EACH ROW EXECUTE FUNCTION refuse_falling_counter();

-- What was last heard of the robot: projections, not custody.
CREATE TABLE robot_state (
  tenant_id        uuid NOT NULL REFERENCES tenant (id),
  robot_id         uuid NOT NULL,
  mode             text CHECK (mode IN ('auto', 'manual', 'estop')),   -- from the controller
  connected        boolean NOT NULL DEFAULT false,
  busy             boolean,
  carrier_occupied boolean,
  error_code       int,
  last_contact_at  timestamptz,
  dispatch         text NOT NULL DEFAULT 'running' CHECK (dispatch IN ('running', 'paused', 'maintenance')),  -- from the entity
  queue            jsonb NOT NULL DEFAULT '[]',
  held_fault_id    uuid,                                              -- frozen until this fault is resolved
  PRIMARY KEY (tenant_id, robot_id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id)
);

-- The journal of motion: the interface between sagas and the wire.
CREATE TABLE motion (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  robot_id    uuid NOT NULL,
  number      bigint NOT NULL CHECK (number BETWEEN 1 AND 4294967295),  -- goes over the wire
  command_id  text NOT NULL,                       -- workflowId/step/attempt
  params_hash bytea NOT NULL,
  job_id      uuid NOT NULL,
  fence       bigint NOT NULL,
  epoch       bigint,                              -- of the gateway that sent it
  operation   text NOT NULL CHECK (operation IN ('pick', 'place', 'scan')),
  position_id uuid,
  cassette    int NOT NULL,
  level       int NOT NULL,
  slot        int NOT NULL,
  state       text NOT NULL DEFAULT 'ACCEPTED' CHECK (state IN ('ACCEPTED', 'SENT', 'DONE', 'FAILED', 'UNKNOWN')),
  outcome     jsonb,                               -- sensors, error code, barcode as read when it settled
  accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at     timestamptz,
  settled_at  timestamptz,
  PRIMARY KEY (tenant_id, robot_id, number),
  UNIQUE (tenant_id, command_id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id),
  FOREIGN KEY (tenant_id, position_id) REFERENCES position (tenant_id, id),
  CHECK ((state IN ('DONE', 'FAILED', 'UNKNOWN')) = (settled_at IS NOT NULL)),
  CHECK (state = 'ACCEPTED' OR state = 'FAILED' OR (sent_at IS NOT NULL AND epoch IS NOT NULL))
);
CREATE UNIQUE INDEX motion_one_live ON motion (tenant_id, robot_id) WHERE state IN ('ACCEPTED', 'SENT');
CREATE INDEX motion_job ON motion (tenant_id, job_id);

CREATE TABLE alarm (
  tenant_id       uuid NOT NULL REFERENCES tenant (id),
  id              uuid NOT NULL DEFAULT uuidv7(),
  kind            text NOT NULL,                   -- outcome_unknown, compensation_stuck, robot_fault, …
  severity        text NOT NULL CHECK (severity IN ('warning', 'high', 'critical')),
  message         text NOT NULL,
  job_id          uuid,
  robot_id        uuid,
  raised_at       timestamptz NOT NULL,
  acknowledged_at timestamptz,
  acknowledged_by uuid,
  cleared_at      timestamptz,
  version         int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, job_id) REFERENCES job (tenant_id, id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id)
);
CREATE INDEX alarm_active ON alarm (tenant_id, raised_at) WHERE cleared_at IS NULL;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON alarm
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('alarm', 'id');

GRANT SELECT, INSERT, UPDATE ON job, robot_turn, robot_state, motion, alarm TO tracseq_app;
GRANT SELECT, INSERT ON job_step, step_result TO tracseq_app;

DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['job', 'job_step', 'step_result', 'robot_turn', 'robot_state', 'motion', 'alarm']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
