-- Jobs planned for later: at a time, after another job, repeatedly, within daily hours.
CREATE TABLE schedule (
  tenant_id     uuid NOT NULL REFERENCES tenant (id),
  id            uuid NOT NULL DEFAULT uuidv7(),
  kind          text NOT NULL CHECK (kind IN ('placement', 'retrieval', 'move')),
  mode          text NOT NULL CHECK (mode IN ('hand', 'robot')),
  priority      int  NOT NULL,                     -- higher goes first
  sample_id     uuid NOT NULL,                     -- may name a sample that its first run registers
  job_order     jsonb NOT NULL,                    -- the order of each job, every reference an id
  trigger       jsonb NOT NULL,                    -- domain/schedule.ts: at, after, interval, calendar
  after_job_id  uuid,                              -- the job that a trigger of kind after waits for
  daily_window  jsonb CHECK (daily_window ->> 'from' <> daily_window ->> 'to'),
  until         timestamptz,
  max_runs      int CHECK (max_runs > 0),
  grace_minutes int NOT NULL CHECK (grace_minutes > 0),
  state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'done', 'cancelled')),
  reason        text NOT NULL,                     -- why it was planned
  created_by    uuid NOT NULL,
  created_at    timestamptz NOT NULL,
  changed_by    uuid,                              -- the last person who changed or cancelled it, when and why
  changed_at    timestamptz,
  change_reason text,
  next_due      timestamptz,                       -- null while active: the job it waits for is not over
  runs          int NOT NULL DEFAULT 0,
  last_run      jsonb,                             -- what came of the last run, or of the last one missed
  version       int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, created_by) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, after_job_id) REFERENCES job (tenant_id, id),
  CHECK (after_job_id IS NOT DISTINCT FROM (trigger ->> 'jobId')::uuid),
  CHECK ((state IN ('done', 'cancelled')) <= (next_due IS NULL)),
  CHECK (state <> 'active' OR next_due IS NOT NULL OR after_job_id IS NOT NULL),
  CHECK (num_nulls(changed_by, changed_at, change_reason) IN (0, 3))
);
CREATE INDEX schedule_due ON schedule (tenant_id, next_due) WHERE state = 'active';
CREATE INDEX schedule_waiting ON schedule (tenant_id, after_job_id) WHERE state = 'active' AND next_due IS NULL;
CREATE INDEX schedule_sample ON schedule (tenant_id, sample_id, id);
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON schedule
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('schedule', 'id');

-- Which schedule a job is a run of.
ALTER TABLE job ADD COLUMN schedule_id uuid;
ALTER TABLE job ADD FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedule (tenant_id, id);
CREATE INDEX job_schedule ON job (tenant_id, schedule_id, id) WHERE schedule_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON schedule TO tracseq_app;
ALTER TABLE schedule ENABLE ROW LEVEL SECURITY;
ALTER TABLE schedule FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON schedule USING (tenant_id = (SELECT current_setting('app.tenant')::uuid))
  WITH CHECK (tenant_id = (SELECT current_setting('app.tenant')::uuid));
