-- Users, stations, sessions and refresh tokens; idempotency keys.

CREATE TABLE app_user (
  tenant_id     uuid NOT NULL REFERENCES tenant (id),
  id            uuid NOT NULL DEFAULT uuidv7(),
  email         text NOT NULL CHECK (email = lower(email) AND position('@' IN email) > 1),
  display_name  text NOT NULL,
  role          text NOT NULL CHECK (role IN ('lab_administrator', 'principal_investigator', 'lab_technician',
                                              'research_scientist', 'data_analyst', 'guest')),
  password_hash text NOT NULL,
  disabled_at   timestamptz,
  version       int NOT NULL DEFAULT 1,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX app_user_email ON app_user (email);       -- unique everywhere: sign-in has no tenant yet

CREATE TABLE station (
  tenant_id   uuid NOT NULL REFERENCES tenant (id),
  id          uuid NOT NULL DEFAULT uuidv7(),
  name        text NOT NULL,
  robot_id    uuid,                                           -- the robot it stands at, if any
  secret_hash text NOT NULL,
  retired_at  timestamptz,
  version     int NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

CREATE TABLE session (
  tenant_id    uuid NOT NULL REFERENCES tenant (id),
  id           uuid NOT NULL DEFAULT uuidv7(),
  user_id      uuid NOT NULL,
  station_id   uuid,
  opened_at    timestamptz NOT NULL DEFAULT now(),
  closed_at    timestamptz,
  close_reason text CHECK (close_reason IN ('signed_out', 'refresh_reused', 'revoked')),
  version      int NOT NULL DEFAULT 1,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES app_user (tenant_id, id),
  FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, id),
  CHECK ((closed_at IS NULL) = (close_reason IS NULL))
);
CREATE INDEX session_closed ON session (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE refresh_token (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  digest     bytea NOT NULL,                                  -- SHA-256 of the token
  session_id uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at    timestamptz,
  PRIMARY KEY (tenant_id, digest),
  FOREIGN KEY (tenant_id, session_id) REFERENCES session (tenant_id, id)
);

CREATE TABLE idempotency_key (
  tenant_id  uuid NOT NULL REFERENCES tenant (id),
  actor_id   uuid NOT NULL,
  key_hash   bytea NOT NULL,                                  -- SHA-256 of the key as sent, unquoted
  body_hash  bytea NOT NULL,                                  -- SHA-256 of method, path and body
  job_id     uuid,                                            -- the process it started, if it started one
  status     int,                                             -- null until the first reply is stored
  reply      jsonb,
  location   text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, actor_id, key_hash)
);
CREATE INDEX idempotency_key_age ON idempotency_key (tenant_id, created_at);

CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON app_user
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('user', 'id');
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON station
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('station', 'id');
CREATE CONSTRAINT TRIGGER ledgered AFTER INSERT OR UPDATE OR DELETE ON session
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_entry('session', 'id');

GRANT SELECT, INSERT, UPDATE ON app_user, station, session TO tracseq_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON refresh_token, idempotency_key TO tracseq_app;

DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['app_user', 'station', 'session', 'refresh_token', 'idempotency_key']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))
                    WITH CHECK (tenant_id = (SELECT current_setting(''app.tenant'')::uuid))', t);
  END LOOP;
END $$;

-- Sign-in knows an address, not a tenant; token checks hear of closed sessions of every tenant.
CREATE SCHEMA signin;
GRANT USAGE ON SCHEMA signin TO tracseq_app;
GRANT USAGE, CREATE ON SCHEMA signin TO tracseq_signin;
GRANT SELECT (tenant_id, id, email, password_hash, disabled_at) ON app_user TO tracseq_signin;
GRANT SELECT (tenant_id, id, closed_at) ON session TO tracseq_signin;
CREATE POLICY signin_crosses ON app_user FOR SELECT TO tracseq_signin USING (true);
CREATE POLICY signin_crosses ON session FOR SELECT TO tracseq_signin USING (true);

CREATE FUNCTION signin.find_user(address text)
RETURNS TABLE (tenant_id uuid, user_id uuid, password_hash text, disabled boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_catalog AS
$$ SELECT tenant_id, id, password_hash, disabled_at IS NOT NULL FROM app_user WHERE email = lower(address) $$;

CREATE FUNCTION signin.sessions_closed_since(moment timestamptz) RETURNS TABLE (session_id uuid, closed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_catalog AS
$$ SELECT id, closed_at FROM session WHERE closed_at >= moment $$;

ALTER FUNCTION signin.find_user(text) OWNER TO tracseq_signin;
ALTER FUNCTION signin.sessions_closed_since(timestamptz) OWNER TO tracseq_signin;
REVOKE CREATE ON SCHEMA signin FROM tracseq_signin;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA signin FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA signin TO tracseq_app;
