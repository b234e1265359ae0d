-- What the gateway needs to judge a command after a restart, and to hear of new ones at once.

-- The number the controller showed immediately before the command was sent. Only a controller that still shows it
-- proves that it keeps such numbers, hence that it never took this command.
ALTER TABLE motion ADD COLUMN latched_before bigint CHECK (latched_before BETWEEN 0 AND 4294967295);

-- Delivered on commit, so that nobody polls: the robot's id to its gateway, the command's id to who waits for it.
CREATE FUNCTION announce_motion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM pg_notify('motion_accepted', NEW.robot_id::text);
  ELSIF NEW.settled_at IS NOT NULL AND OLD.settled_at IS NULL THEN
    PERFORM pg_notify('motion_settled', NEW.command_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER announced AFTER INSERT OR UPDATE ON motion FOR EACH ROW EXECUTE FUNCTION announce_motion();

-- A settled motion is evidence: what was reported stays as it was reported, and a command never goes back.
CREATE FUNCTION refuse_motion_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.settled_at IS NOT NULL THEN
    RAISE EXCEPTION 'motion % of robot % is settled', OLD.number, OLD.robot_id USING ERRCODE = 'check_violation';
  END IF;
  IF OLD.state = 'SENT' AND NEW.state = 'ACCEPTED' THEN
    RAISE EXCEPTION 'motion % of robot % was sent', OLD.number, OLD.robot_id USING ERRCODE = 'check_violation';
  END IF;
  IF (NEW.number, NEW.command_id, NEW.params_hash, NEW.operation, NEW.cassette, NEW.level, NEW.slot, NEW.fence)
     IS DISTINCT FROM (OLD.number, OLD.command_id, OLD.params_hash, OLD.operation, OLD.cassette, OLD.level, OLD.slot, OLD.fence) THEN
    RAISE EXCEPTION 'an accepted motion is not rewritten' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER not_rewritten BEFORE UPDATE ON motion FOR EACH ROW EXECUTE FUNCTION refuse_motion_rewrite();
