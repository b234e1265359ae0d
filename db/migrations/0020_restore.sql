-- What a restored laboratory must remember until its robots have been heard of.

-- The highest command number known when the database was restored. Until the controller has been compared with it nobody
-- knows whether the robot moved since, and no fault of the restore is cleared. Null: nothing is to be compared.
ALTER TABLE robot_turn ADD COLUMN restored_number bigint CHECK (restored_number >= 0);

-- A motion that was accepted, not sent, when the backup was taken may have been sent since: its outcome is unknown, and
-- nobody knows when, or by which gateway, it was sent.
DO $$
DECLARE c text;
BEGIN
  SELECT conname INTO STRICT c FROM pg_constraint
  WHERE conrelid = 'motion'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%sent_at IS NOT NULL%';
  EXECUTE format('ALTER TABLE motion DROP CONSTRAINT %I', c);
END $$;
ALTER TABLE motion ADD CHECK (state IN ('ACCEPTED', 'FAILED', 'UNKNOWN') OR (sent_at IS NOT NULL AND epoch IS NOT NULL));
