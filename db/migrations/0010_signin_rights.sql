-- Only the application signs people in and hears of closed sessions. After the change of owner in 0002 only the new
-- owner can say so.
SET LOCAL ROLE tracseq_signin;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA signin FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA signin TO tracseq_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA signin FROM tracseq_signin;
