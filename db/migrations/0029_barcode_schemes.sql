-- How a laboratory makes its barcodes: one scheme for samples, one for locations.
CREATE TABLE barcode_scheme (
  tenant_id          uuid NOT NULL REFERENCES tenant (id),
  id                 uuid NOT NULL DEFAULT uuidv7(),
  kind               text NOT NULL CHECK (kind IN ('sample', 'location')),
  pattern            text NOT NULL CHECK (length(pattern) BETWEEN 1 AND 100),
  prefix             text NOT NULL CHECK (length(prefix) <= 40),
  check_method       text NOT NULL CHECK (check_method IN ('none', 'mod10', 'mod11', 'mod37_2', 'gs1')),
  is_enforced        boolean NOT NULL,
  gs1_company_prefix text CHECK (gs1_company_prefix ~ '^[0-9]{6,12}$'),
  next_number        bigint NOT NULL DEFAULT 1 CHECK (next_number >= 1),
  version            int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, kind)
);
-- The counter is bookkeeping: what was made with it is told by the sample's or location's entry.
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR DELETE ON barcode_scheme
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('barcode_scheme', 'id');
CREATE CONSTRAINT TRIGGER ledgered_update AFTER UPDATE ON barcode_scheme
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (to_jsonb(OLD) - 'next_number' IS DISTINCT FROM to_jsonb(NEW) - 'next_number')
  EXECUTE FUNCTION require_entry('barcode_scheme', 'id');
GRANT SELECT, INSERT, UPDATE ON barcode_scheme TO tracseq_app;
ALTER TABLE barcode_scheme ENABLE ROW LEVEL SECURITY;
ALTER TABLE barcode_scheme FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON barcode_scheme USING (tenant_id = (SELECT current_setting('app.tenant')::uuid))
  WITH CHECK (tenant_id = (SELECT current_setting('app.tenant')::uuid));
