-- Every fault that holds a robot, oldest first: a second fault neither hides nor frees the first. `held_fault_id` stays
-- what people are shown. The column is the truth: the grant of a turn reads it, the robot's workflow only copies it.
ALTER TABLE robot_state ALTER COLUMN held_fault_id TYPE uuid[]
  USING CASE WHEN held_fault_id IS NULL THEN '{}'::uuid[] ELSE ARRAY[held_fault_id] END;
ALTER TABLE robot_state RENAME COLUMN held_fault_id TO held_fault_ids;
ALTER TABLE robot_state ALTER COLUMN held_fault_ids SET DEFAULT '{}';
ALTER TABLE robot_state ALTER COLUMN held_fault_ids SET NOT NULL;
ALTER TABLE robot_state ADD COLUMN held_fault_id uuid GENERATED ALWAYS AS (held_fault_ids[1]) STORED;
