-- Scans of whole racks, how each kind of scanner writes them, and the scanners that are asked over the network.

-- A laboratory's own profiles; those it has not set are the presets of domain/scanner-profile.ts.
CREATE TABLE scanner_profile (
  tenant_id uuid NOT NULL REFERENCES tenant (id),
  id        uuid NOT NULL DEFAULT uuidv7(),
  code      text NOT NULL CHECK (code ~ '^[a-z][a-z0-9_]{0,49}$'),
  name      text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  profile   jsonb NOT NULL,                        -- domain/scanner-profile.ts: ScannerProfile
  version   int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, code)
);

CREATE TABLE rack_scanner (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  id         uuid NOT NULL DEFAULT uuidv7(),
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  driver     text NOT NULL CHECK (driver IN ('visionmate')),
  host       text NOT NULL,
  port       int  NOT NULL CHECK (port BETWEEN 1 AND 65535),
  profile    text NOT NULL,                        -- code
  created_at timestamptz NOT NULL DEFAULT now(),
  retired_at timestamptz,
  version    int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX rack_scanner_name ON rack_scanner (tenant_id, name) WHERE retired_at IS NULL;

CREATE TABLE rack_scan (
  tenant_id     uuid NOT NULL REFERENCES tenant (id),
  id            uuid NOT NULL DEFAULT uuidv7(),
  location_id   uuid NOT NULL,
  profile       text NOT NULL,                     -- code
  scanner_id    uuid,                              -- null: a file or a list
  state         text NOT NULL CHECK (state IN ('reading', 'open', 'superseded', 'applied', 'failed')),
  content       jsonb,                             -- domain/rack-scan.ts: RackScan
  expected      jsonb,                             -- domain/rack-diff.ts: Expectation, when it was scanned
  detail        text,                              -- why it failed
  scanned_by    uuid NOT NULL,
  station_id    uuid,
  scanned_at    timestamptz NOT NULL,
  superseded_by uuid,
  applied_by    uuid,
  applied_at    timestamptz,
  outcome       jsonb,                             -- what applying it changed
  version       int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, location_id) REFERENCES location (tenant_id, id),
  FOREIGN KEY (tenant_id, scanner_id) REFERENCES rack_scanner (tenant_id, id),
  FOREIGN KEY (tenant_id, scanned_by) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, applied_by) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, superseded_by) REFERENCES rack_scan (tenant_id, id) DEFERRABLE INITIALLY DEFERRED,
  CHECK ((state IN ('reading', 'failed')) = (content IS NULL)),
  CHECK ((content IS NULL) = (expected IS NULL)),
  CHECK ((state = 'failed') = (detail IS NOT NULL)),
  CHECK ((state = 'superseded') = (superseded_by IS NOT NULL)),
  CHECK ((state = 'applied') = (applied_at IS NOT NULL)),
  CHECK (num_nulls(applied_at, applied_by, outcome) IN (0, 3))
);
CREATE UNIQUE INDEX rack_scan_open ON rack_scan (tenant_id, location_id) WHERE state = 'open';
-- A scanner takes one connection at a time.
CREATE UNIQUE INDEX rack_scan_reading ON rack_scan (tenant_id, scanner_id) WHERE state = 'reading';
CREATE INDEX rack_scan_location ON rack_scan (tenant_id, location_id, id);

GRANT SELECT, INSERT, UPDATE ON scanner_profile, rack_scanner, rack_scan TO tracseq_app;
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['scanner_profile', 'rack_scanner', 'rack_scan'] LOOP
    EXECUTE format('CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON %1$I
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry(%1$L, ''id'')', t);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
