-- How a robot stands: paused within a turn, stopped by what keeps people safe, and the gate it shares with others.

-- 'paused_now': the turn under way rests as well, after the motion under way.
ALTER TABLE robot_state DROP CONSTRAINT robot_state_dispatch_check;
ALTER TABLE robot_state ADD CONSTRAINT robot_state_dispatch_check
  CHECK (dispatch IN ('running', 'paused', 'paused_now', 'maintenance'));
-- When the controller was last seen out of automatic mode, or locked out: only a reset seen after that lets it go.
ALTER TABLE robot_state ADD COLUMN stop_seen_at timestamptz;

-- Since when the robot waits for its gate, another robot having the turn: who waits longest goes first.
ALTER TABLE robot_turn ADD COLUMN gate_asked_at timestamptz;
CREATE INDEX robot_gate ON robot (tenant_id, gate) WHERE gate IS NOT NULL;
