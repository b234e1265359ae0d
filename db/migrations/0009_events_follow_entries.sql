-- Events are numbered in the order of the ledger, so none may lack an entry.
SET LOCAL ROLE ledger_owner;
GRANT REFERENCES ON ledger.entry TO tracseq_owner;
RESET ROLE;
ALTER TABLE event ADD CONSTRAINT event_has_entry FOREIGN KEY (tenant_id, id)
  REFERENCES ledger.entry (tenant_id, event_id) DEFERRABLE INITIALLY DEFERRED;

-- The order is the log's; when an event was recorded is not asked for.
DROP INDEX event_unsequenced;
CREATE INDEX event_unsequenced ON event (tenant_id) WHERE position IS NULL;
