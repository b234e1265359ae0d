-- What can be done before the head of the log is locked is done before: reading and hashing the leaves. Under the lock
-- stay the tree, one INSERT for all entries and one UPDATE.
GRANT CREATE ON SCHEMA ledger TO ledger_owner;   -- CREATE OR REPLACE asks for it; withdrawn below
SET LOCAL ROLE ledger_owner;

CREATE OR REPLACE FUNCTION ledger.append(leaves bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_catalog AS $$
DECLARE
  t uuid := current_setting('app.tenant')::uuid;
  first_seq bigint; f bytea[]; leaf bytea; h bytea; body jsonb; m bigint;
  event_ids uuid[] := '{}';
  hashes bytea[] := '{}';
BEGIN
  FOREACH leaf IN ARRAY leaves LOOP
    body := convert_from(leaf, 'UTF8')::jsonb;
    IF (body ->> 'v') IS DISTINCT FROM '1' OR (body ->> 'log')::uuid IS DISTINCT FROM t THEN
      RAISE EXCEPTION 'leaf is not a version 1 leaf of log %', t USING ERRCODE = 'check_violation';
    END IF;
    event_ids := array_append(event_ids, (body ->> 'event_id')::uuid);
    hashes := array_append(hashes, sha256('\x00'::bytea || leaf));
  END LOOP;

  SELECT size, frontier INTO first_seq, f FROM ledger.log WHERE tenant_id = t FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'tenant % has no ledger', t USING ERRCODE = 'no_data_found'; END IF;
  m := first_seq;
  FOREACH h IN ARRAY hashes LOOP
    DECLARE rest bigint := m;
    BEGIN
      WHILE rest & 1 = 1 LOOP                          -- RFC 6962: join equal subtrees
        h := sha256('\x01'::bytea || f[cardinality(f)] || h);
        f := trim_array(f, 1);
        rest := rest >> 1;
      END LOOP;
    END;
    f := array_append(f, h);
    m := m + 1;
  END LOOP;
  INSERT INTO ledger.entry (tenant_id, seq, event_id, leaf, leaf_hash)
    SELECT t, first_seq + e.n - 1, e.event_id, e.leaf, e.hash
    FROM unnest(event_ids, leaves, hashes) WITH ORDINALITY AS e (event_id, leaf, hash, n);
  UPDATE ledger.log SET size = m, frontier = f WHERE tenant_id = t;
  RETURN first_seq;
END $$;

-- Only append() enters entries, and it holds the row this would look for.
ALTER TABLE ledger.entry DROP CONSTRAINT entry_tenant_id_fkey;
-- Room beside each head for its next versions.
ALTER TABLE ledger.log SET (fillfactor = 20);

RESET ROLE;
REVOKE CREATE ON SCHEMA ledger FROM ledger_owner;
