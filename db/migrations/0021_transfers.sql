-- Stores at job level: a transfer is one command with two addresses, carried out by the store itself.
ALTER TABLE motion DROP CONSTRAINT motion_operation_check;
ALTER TABLE motion ADD CONSTRAINT motion_operation_check CHECK (operation IN ('pick', 'place', 'scan', 'transfer'));
-- Where a transfer goes; position_id, cassette, level and slot say where it comes from.
ALTER TABLE motion ADD COLUMN to_position_id uuid;
ALTER TABLE motion ADD COLUMN to_cassette int;
ALTER TABLE motion ADD COLUMN to_level int;
ALTER TABLE motion ADD COLUMN to_slot int;
ALTER TABLE motion ADD CONSTRAINT motion_has_target
  CHECK (num_nonnulls(to_position_id, to_cassette, to_level, to_slot) = CASE operation WHEN 'transfer' THEN 4 ELSE 0 END);
ALTER TABLE motion ADD FOREIGN KEY (tenant_id, to_position_id) REFERENCES position (tenant_id, id);

CREATE OR REPLACE FUNCTION refuse_motion_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.settled_at IS NOT NULL THEN
    RAISE EXCEPTION 'motion % of robot % is settled', OLD.number, OLD.robot_id USING ERRCODE = 'check_violation';
  END IF;
  IF OLD.state = 'SENT' AND NEW.state = 'ACCEPTED' THEN
    RAISE EXCEPTION 'motion % of robot % was sent', OLD.number, OLD.robot_id USING ERRCODE = 'check_violation';
  END IF;
  IF (NEW.number, NEW.command_id, NEW.params_hash, NEW.operation, NEW.cassette, NEW.level, NEW.slot, NEW.fence,
      NEW.to_position_id, NEW.to_cassette, NEW.to_level, NEW.to_slot)
     IS DISTINCT FROM (OLD.number, OLD.command_id, OLD.params_hash, OLD.operation, OLD.cassette, OLD.level, OLD.slot, OLD.fence,
      OLD.to_position_id, OLD.to_cassette, OLD.to_level, OLD.to_slot) THEN
    RAISE EXCEPTION 'an accepted motion is not rewritten' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
