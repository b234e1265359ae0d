-- Tenants, the ledger, record versions and the outbox: what every other table stands on.
-- Runs as tracseq_owner. The roles themselves are made by db/roles.ts (superuser), before this.

CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA public TO tracseq_app, tracseq_relay, tracseq_signer, tracseq_signin, ledger_owner;
GRANT USAGE ON SCHEMA ledger TO tracseq_app, tracseq_signer, ledger_owner;
-- ALTER … OWNER needs the new owner to be allowed to create there; withdrawn at the end of this file.
GRANT CREATE ON SCHEMA ledger TO ledger_owner;

CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN current_setting('app.tenant')::uuid;

CREATE TABLE tenant (
  id         uuid PRIMARY KEY DEFAULT uuidv7(),
  name       text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
  version    int  NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- ── ledger ────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE ledger.log (
  tenant_id uuid PRIMARY KEY REFERENCES public.tenant (id),
  origin    text NOT NULL UNIQUE,
  size      bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
  frontier  bytea[] NOT NULL DEFAULT '{}'          -- compact range: roots of the perfect subtrees, largest first
);

CREATE TABLE ledger.entry (
  tenant_id  uuid   NOT NULL REFERENCES ledger.log (tenant_id),
  seq        bigint NOT NULL,
  event_id   uuid   NOT NULL,
  leaf       bytea  NOT NULL CHECK (length(leaf) <= 65535),
  leaf_hash  bytea  NOT NULL CHECK (length(leaf_hash) = 32),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, seq),
  UNIQUE (tenant_id, event_id)
);

-- Appends encoded leaves (docs/formats/leaf-v1.md) to the log of the current tenant and returns the first
-- sequence number. Must be the last statement of its transaction and be called once in it: it holds the
-- log's head until commit.
CREATE FUNCTION ledger.append(leaves bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_catalog AS $$
DECLARE
  t uuid := current_setting('app.tenant')::uuid;
  first_seq bigint; n bigint; f bytea[]; leaf bytea; h bytea; body jsonb; m bigint;
BEGIN
  SELECT size, frontier INTO n, f FROM ledger.log WHERE tenant_id = t FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'tenant % has no ledger', t USING ERRCODE = 'no_data_found'; END IF;
  first_seq := n;
  FOREACH leaf IN ARRAY leaves LOOP
    body := convert_from(leaf, 'UTF8')::jsonb;
    IF (body ->> 'v') IS DISTINCT FROM '1' OR (body ->> 'log')::uuid IS DISTINCT FROM t THEN
      RAISE EXCEPTION 'leaf is not a version 1 leaf of log %', t USING ERRCODE = 'check_violation';
    END IF;
    h := sha256('\x00'::bytea || leaf);
    INSERT INTO ledger.entry (tenant_id, seq, event_id, leaf, leaf_hash)
      VALUES (t, n, (body ->> 'event_id')::uuid, leaf, h);
    m := n;
    WHILE m & 1 = 1 LOOP                            -- RFC 6962: join equal subtrees
      h := sha256('\x01'::bytea || f[cardinality(f)] || h);
      f := f[1:cardinality(f) - 1];
      m := m >> 1;
    END LOOP;
    f := f || h;
    n := n + 1;
  END LOOP;
  UPDATE ledger.log SET size = n, frontier = f WHERE tenant_id = t;
  RETURN first_seq;
END $$;

-- Opens the log of the current tenant. Part of creating a tenant.
CREATE FUNCTION ledger.open_log(origin text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_catalog AS
$$ INSERT INTO ledger.log (tenant_id, origin) VALUES (current_setting('app.tenant')::uuid, origin) $$;

CREATE FUNCTION ledger.refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.entry
  FOR EACH ROW EXECUTE FUNCTION ledger.refuse_rewrite();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON ledger.entry
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_rewrite();

-- ── record versions and erasable values ───────────────────────────────────────────────────────────────
CREATE TABLE record_version (
  tenant_id    uuid NOT NULL REFERENCES tenant (id),
  aggregate    text NOT NULL,
  aggregate_id uuid NOT NULL,
  version      int  NOT NULL CHECK (version > 0),
  event_id     uuid NOT NULL,
  content      bytea NOT NULL,                      -- canonical JSON {before, after}; its SHA-256 is in the leaf
  xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
  recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, aggregate, aggregate_id, version),
  UNIQUE (tenant_id, event_id),
  UNIQUE (tenant_id, aggregate, aggregate_id, xid), -- one entry an aggregate and transaction
  FOREIGN KEY (tenant_id, event_id) REFERENCES ledger.entry (tenant_id, event_id) DEFERRABLE INITIALLY DEFERRED
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON record_version
  FOR EACH ROW EXECUTE FUNCTION ledger.refuse_rewrite();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON record_version
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_rewrite();

-- What a commitment in a leaf or record version stands for. Deleting a row erases the value for good.
CREATE TABLE erasable_value (
  tenant_id  uuid  NOT NULL REFERENCES tenant (id),
  commitment bytea NOT NULL CHECK (length(commitment) = 32),
  salt       bytea NOT NULL CHECK (length(salt) = 32),
  field      text  NOT NULL,
  value      text  NOT NULL,
  PRIMARY KEY (tenant_id, commitment)
);

-- Refuses a commit in which a row changed and its aggregate got no record version (hence no ledger entry).
-- Arguments: aggregate name, name of the column that holds the aggregate's id.
CREATE FUNCTION require_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  r jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
  agg uuid := (r ->> TG_ARGV[1])::uuid;
  t uuid := coalesce(r ->> 'tenant_id', r ->> 'id')::uuid;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM record_version WHERE tenant_id = t AND aggregate = TG_ARGV[0]
                 AND aggregate_id = agg AND xid = pg_current_xact_id()) THEN
    RAISE EXCEPTION '% of %.% has no ledger entry: changes go through withChange', TG_OP, TG_TABLE_NAME, agg
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON tenant
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('tenant', 'id');

-- ── outbox: CloudEvents, history and stream in one ────────────────────────────────────────────────────
CREATE TABLE event (
  tenant_id    uuid NOT NULL REFERENCES tenant (id),
  id           uuid NOT NULL,
  position     bigint,                              -- assigned by the relay after commit, gapless a tenant
  type         text NOT NULL,
  subject      text NOT NULL,                       -- '<aggregate>/<id>'
  time         timestamptz NOT NULL,
  recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor        text NOT NULL,
  data         jsonb NOT NULL,
  published_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, position)
);
CREATE INDEX event_subject ON event (tenant_id, subject, recorded_at);
CREATE INDEX event_unsequenced ON event (tenant_id, recorded_at) WHERE position IS NULL;
CREATE INDEX event_unpublished ON event (tenant_id, position) WHERE published_at IS NULL;

-- ── row-level security and rights ─────────────────────────────────────────────────────────────────────
REVOKE ALL ON FUNCTION ledger.append(bytea[]), ledger.open_log(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.append(bytea[]) TO tracseq_app, tracseq_owner;
GRANT EXECUTE ON FUNCTION ledger.open_log(text) TO tracseq_owner;
GRANT REFERENCES ON ledger.log, ledger.entry TO tracseq_owner;
GRANT SELECT ON ledger.log, ledger.entry TO tracseq_app, tracseq_owner, tracseq_signer;
GRANT REFERENCES ON tenant TO ledger_owner;
GRANT SELECT ON tenant TO tracseq_app, tracseq_relay, tracseq_signer, ledger_owner;
GRANT SELECT, INSERT ON record_version TO tracseq_app;
GRANT SELECT, INSERT, DELETE ON erasable_value TO tracseq_app;
GRANT SELECT, INSERT ON event TO tracseq_app;
GRANT SELECT, UPDATE (position, published_at) ON event TO tracseq_relay;

DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['ledger.log', 'ledger.entry', 'record_version', 'erasable_value', 'event']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;
ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
-- The list of tenants is what loops and sign-in go by; it holds an id and a name, nothing else.
CREATE POLICY tenant_lookup ON tenant FOR SELECT USING (true);
CREATE POLICY own_tenant ON tenant USING (id = (SELECT current_setting('app.tenant')::uuid))
  WITH CHECK (id = (SELECT current_setting('app.tenant')::uuid));
CREATE POLICY relay_crosses ON event TO tracseq_relay USING (true) WITH CHECK (true);
CREATE POLICY signer_crosses ON ledger.log FOR SELECT TO tracseq_signer USING (true);
CREATE POLICY signer_crosses ON ledger.entry FOR SELECT TO tracseq_signer USING (true);

-- Last: from here on only ledger_owner's function writes the log.
GRANT EXECUTE ON FUNCTION ledger.refuse_rewrite() TO ledger_owner;
ALTER TABLE ledger.log OWNER TO ledger_owner;
ALTER TABLE ledger.entry OWNER TO ledger_owner;
ALTER FUNCTION ledger.append(bytea[]) OWNER TO ledger_owner;
ALTER FUNCTION ledger.open_log(text) OWNER TO ledger_owner;
REVOKE CREATE ON SCHEMA ledger FROM ledger_owner;
