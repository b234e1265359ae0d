-- What becomes of a sample between its registration and its end. Where it is stays in `custody`.

ALTER TABLE sample
  -- What a person has decided; everything else about the state follows from custody.
  ADD COLUMN standing text NOT NULL DEFAULT 'active'
    CHECK (standing IN ('active', 'on_hold', 'consumed', 'archived', 'lost')),
  ADD COLUMN hold_reason text,                      -- a code of domain/sample-state.ts; kept while a held tube is lost
  ADD COLUMN is_checked_out boolean NOT NULL DEFAULT false,
  ADD COLUMN entered_storage_at timestamptz,        -- first time in a position
  ADD COLUMN parent_id uuid,                        -- what it was taken from
  ADD COLUMN parent_generation int,
  ADD COLUMN generation int NOT NULL DEFAULT 0,     -- 0: collected; an aliquot is one more than its parent
  ADD COLUMN subject text CHECK (length(subject) BETWEEN 1 AND 100),   -- the donor's reference, never a name
  ADD COLUMN quantity numeric(24, 9) CHECK (quantity >= 0),
  ADD COLUMN initial_quantity numeric(24, 9),
  ADD COLUMN quantity_unit text,
  ADD COLUMN lot text CHECK (length(lot) BETWEEN 1 AND 100),
  ADD COLUMN expires_on date,
  ADD COLUMN use_count int NOT NULL DEFAULT 0 CHECK (use_count >= 0),
  ADD COLUMN thaw_recorded boolean NOT NULL DEFAULT false,  -- a person counted the thaw of the exposure that is running
  ADD CHECK ((quantity IS NULL) = (quantity_unit IS NULL) AND (quantity IS NULL) = (initial_quantity IS NULL)),
  ADD CHECK (quantity <= initial_quantity),
  ADD CHECK (standing <> 'on_hold' OR hold_reason IS NOT NULL),
  ADD CHECK (standing <> 'lost' OR custody = 'unknown'),
  ADD CHECK (standing NOT IN ('consumed', 'archived') OR position_id IS NULL),
  ADD CHECK (NOT is_checked_out OR custody = 'person');
-- The chain of generations cannot close: each link is one more than the one before.
ALTER TABLE sample ADD UNIQUE (tenant_id, id, generation);
ALTER TABLE sample
  ADD CHECK ((parent_id IS NULL) = (parent_generation IS NULL)),
  ADD CHECK (generation = coalesce(parent_generation + 1, 0)),
  ADD FOREIGN KEY (tenant_id, parent_id, parent_generation) REFERENCES sample (tenant_id, id, generation);
-- Derived, so that nobody who moves a tube has to think of it. Compared with domain/sample-state.ts by a test.
ALTER TABLE sample ADD COLUMN state text NOT NULL GENERATED ALWAYS AS (
  CASE
    WHEN standing <> 'active' THEN standing
    WHEN custody = 'disposed' THEN 'disposed'
    WHEN custody = 'transit' THEN 'shipped'
    WHEN custody = 'unknown' THEN 'missing'
    WHEN custody = 'position' THEN 'stored'
    WHEN is_checked_out THEN 'checked_out'
    WHEN entered_storage_at IS NULL THEN 'registered'
    WHEN custody = 'person' THEN 'in_use'
    ELSE 'stored'
  END) STORED;
CREATE INDEX sample_parent ON sample (tenant_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX sample_subject ON sample (tenant_id, subject, id) WHERE subject IS NOT NULL;
CREATE INDEX sample_by_state ON sample (tenant_id, state, id) WHERE state <> 'stored';

-- job_id is the reservation, bookkeeping; everything else about a sample is ledgered, whatever columns it gets.
DROP TRIGGER ledgered_update ON sample;
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON sample
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.version IS DISTINCT FROM NEW.version OR OLD.job_id IS NOT DISTINCT FROM NEW.job_id
        OR (to_jsonb(OLD) - 'job_id') IS DISTINCT FROM (to_jsonb(NEW) - 'job_id'))
  EXECUTE FUNCTION require_entry('sample', 'id');

-- Who has a tube, until when, and which position waits for it: that one is blocked with the tube's label.
CREATE TABLE check_out (
  tenant_id      uuid NOT NULL REFERENCES tenant (id),
  id             uuid NOT NULL DEFAULT uuidv7(),
  sample_id      uuid NOT NULL,
  assignee_id    uuid NOT NULL,
  due_at         timestamptz NOT NULL,
  comment        text CHECK (length(comment) BETWEEN 1 AND 500),
  position_id    uuid,                              -- null: it was not in one
  checked_out_by uuid NOT NULL,
  checked_out_at timestamptz NOT NULL,
  checked_in_at  timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, sample_id) REFERENCES sample (tenant_id, id),
  FOREIGN KEY (tenant_id, assignee_id) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, checked_out_by) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, position_id) REFERENCES position (tenant_id, id)
);
CREATE UNIQUE INDEX check_out_open ON check_out (tenant_id, sample_id) WHERE checked_in_at IS NULL;
CREATE INDEX check_out_due ON check_out (tenant_id, due_at, id) WHERE checked_in_at IS NULL;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON check_out
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('sample', 'sample_id');

-- A consent that was withdrawn: every sample of it is held at once and destroyed one by one.
CREATE TABLE consent_withdrawal (
  tenant_id          uuid NOT NULL REFERENCES tenant (id),
  id                 uuid NOT NULL DEFAULT uuidv7(),
  subject            text,                          -- asked by subject; null: by one sample
  sample_id          uuid,
  comment            text,
  withdrawn_at       timestamptz NOT NULL,
  withdrawn_by       uuid NOT NULL,
  certificate        bytea,                         -- canonical JSON, once everything is gone
  certificate_sha256 bytea,
  certified_at       timestamptz,
  version            int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, sample_id) REFERENCES sample (tenant_id, id),
  FOREIGN KEY (tenant_id, withdrawn_by) REFERENCES app_user (tenant_id, id),
  CHECK (num_nonnulls(subject, sample_id) = 1),
  CHECK (num_nonnulls(certificate, certificate_sha256, certified_at) IN (0, 3)),
  CHECK (certificate_sha256 = sha256(certificate))
);
CREATE UNIQUE INDEX consent_withdrawal_subject ON consent_withdrawal (tenant_id, subject);
CREATE UNIQUE INDEX consent_withdrawal_of_sample ON consent_withdrawal (tenant_id, sample_id) WHERE sample_id IS NOT NULL;
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON consent_withdrawal
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('consent_withdrawal', 'id');

CREATE TABLE consent_withdrawal_sample (
  tenant_id     uuid NOT NULL REFERENCES tenant (id),
  withdrawal_id uuid NOT NULL,
  sample_id     uuid NOT NULL,
  PRIMARY KEY (tenant_id, withdrawal_id, sample_id),
  FOREIGN KEY (tenant_id, withdrawal_id) REFERENCES consent_withdrawal (tenant_id, id),
  FOREIGN KEY (tenant_id, sample_id) REFERENCES sample (tenant_id, id)
);
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON consent_withdrawal_sample
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('consent_withdrawal', 'withdrawal_id');

-- How one sample was disposed of, for the certificate: the entry that says so and who stood by.
CREATE TABLE disposal (
  tenant_id        uuid NOT NULL REFERENCES tenant (id),
  sample_id        uuid NOT NULL,
  reason           text NOT NULL,                   -- a code of domain/sample-state.ts
  comment          text CHECK (length(comment) BETWEEN 1 AND 500),
  disposed_by      uuid NOT NULL,
  second_person_id uuid NOT NULL,
  disposed_at      timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, sample_id),
  FOREIGN KEY (tenant_id, sample_id) REFERENCES sample (tenant_id, id),
  FOREIGN KEY (tenant_id, disposed_by) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, second_person_id) REFERENCES app_user (tenant_id, id),
  CHECK (disposed_by <> second_person_id)
);
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON disposal
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('sample', 'sample_id');

GRANT SELECT, INSERT, UPDATE ON check_out, consent_withdrawal TO tracseq_app;
GRANT SELECT, INSERT ON consent_withdrawal_sample, disposal TO tracseq_app;
DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['check_out', 'consent_withdrawal', 'consent_withdrawal_sample', 'disposal']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;

-- A label that was replaced stays reserved, and still finds its sample.
CREATE OR REPLACE FUNCTION locate_sample(of_tenant uuid, wanted_id uuid, wanted_barcode text) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant', of_tenant::text, true);
  IF wanted_id IS NULL THEN
    SELECT b.owner_id INTO wanted_id FROM barcode b
    WHERE b.tenant_id = of_tenant AND b.code = wanted_barcode AND b.kind = 'sample';
  END IF;
  RETURN QUERY
    SELECT jsonb_build_object(
      'id', s.id, 'barcode', s.barcode, 'custody', s.custody, 'position_id', s.position_id, 'robot_id', s.robot_id,
      'holder_id', s.holder_id, 'candidates', s.candidates, 'custody_since', s.custody_since, 'witness', s.witness,
      'container_id', p.container_id, 'grid_row', p.grid_row, 'grid_column', p.grid_column,
      'container_barcode', l.barcode, 'grid_rows', l.grid_rows, 'grid_columns', l.grid_columns,
      'row_labels', l.row_labels, 'column_labels', l.column_labels, 'labelling', l.labelling, 'direction', l.direction,
      'origin', l.origin, 'path', l.path, 'container_zone', l.effective_zone)
    FROM sample s
    LEFT JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
    LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    WHERE s.tenant_id = of_tenant AND s.id = wanted_id;
END $$;
