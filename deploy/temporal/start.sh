#!/bin/sh
# Starts the server inside its container: the password comes from a file, the address others reach it under from Docker.
set -eu
POSTGRES_PASSWORD="$(cat /run/secrets/temporal_database_password)"
BROADCAST_ADDRESS="$(hostname -i | cut -d ' ' -f 1)"
export POSTGRES_PASSWORD BROADCAST_ADDRESS
exec temporal-server --root /deploy --config temporal --env server --allow-no-auth start
