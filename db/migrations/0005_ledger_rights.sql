-- Rights on the log that only its owner can give. A change of owner turns the former owner's rights into the new
-- owner's, so what tracseq_owner keeps is granted after it.
GRANT USAGE ON SCHEMA ledger TO tracseq_relay;

SET LOCAL ROLE ledger_owner;
-- Creating a tenant opens its log and appends its first entries.
GRANT EXECUTE ON FUNCTION ledger.append(bytea[]), ledger.open_log(text) TO tracseq_owner;
GRANT SELECT ON ledger.log, ledger.entry TO tracseq_owner;
-- The relay numbers events in the order of the log, which is the order of commits.
GRANT SELECT (tenant_id, seq, event_id) ON ledger.entry TO tracseq_relay;
CREATE POLICY relay_crosses ON ledger.entry FOR SELECT TO tracseq_relay USING (true);
RESET ROLE;
