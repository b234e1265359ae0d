-- Stores at job level keep an inventory of their own; now and then it is compared with what is recorded.
CREATE TABLE inventory_comparison (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  id         uuid NOT NULL DEFAULT uuidv7(),
  robot_id   uuid NOT NULL,
  state      text NOT NULL DEFAULT 'RUNNING' CHECK (state IN ('RUNNING', 'COMPLETED', 'FAILED')),
  cause      text NOT NULL CHECK (cause IN ('asked', 'schedule')),
  actor_id   uuid NOT NULL,                        -- who asked; on schedule the nil UUID
  actor_role text NOT NULL,
  station_id uuid,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  read_at    timestamptz,                          -- when its reading began: what moved since is left out
  ended_at   timestamptz,
  tubes      int,                                  -- in the store's inventory
  recorded   int,                                  -- in the record
  missing    int,
  unexpected int,
  moved      int,
  opened     int NOT NULL DEFAULT 0,               -- deviations that were not open before
  detail     text,                                 -- why it failed, a sentence
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, robot_id) REFERENCES robot (tenant_id, id),
  CHECK ((state = 'RUNNING') = (ended_at IS NULL)),
  CHECK ((state = 'FAILED') = (detail IS NOT NULL))
);
CREATE UNIQUE INDEX inventory_comparison_running ON inventory_comparison (tenant_id, robot_id) WHERE state = 'RUNNING';
CREATE INDEX inventory_comparison_recent ON inventory_comparison (tenant_id, robot_id, id DESC);

-- What a store said it holds, until it is compared.
CREATE TABLE inventory_entry (
  tenant_id     uuid NOT NULL REFERENCES tenant (id),
  comparison_id uuid NOT NULL,
  cassette      int NOT NULL,
  level         int NOT NULL,
  slot          int NOT NULL,
  barcode       text,                              -- null: the store could not read it
  PRIMARY KEY (tenant_id, comparison_id, cassette, level, slot),
  FOREIGN KEY (tenant_id, comparison_id) REFERENCES inventory_comparison (tenant_id, id)
);

-- The same discrepancy is not opened twice while it is open.
CREATE UNIQUE INDEX deviation_inventory_open ON deviation (tenant_id, robot_id, kind, sample_id, (facts ->> 'address'))
  NULLS NOT DISTINCT WHERE closed_at IS NULL AND kind LIKE 'inventory%';

GRANT SELECT, INSERT, UPDATE ON inventory_comparison TO tracseq_app;
GRANT SELECT, INSERT, DELETE ON inventory_entry TO tracseq_app;
DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['inventory_comparison', 'inventory_entry']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
