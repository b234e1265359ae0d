#!/bin/sh
# Creates the schemas where there are none and applies what is missing; repeating it changes nothing.
set -eu
SQL_PASSWORD="$(cat /run/secrets/temporal_database_password)"
export SQL_PASSWORD
for pair in temporal:postgresql/v12/temporal temporal_visibility:postgresql/v12/visibility; do
  temporal-sql-tool --database "${pair%%:*}" setup-schema --version 0.0
  temporal-sql-tool --database "${pair%%:*}" update-schema --schema-name "${pair#*:}"
done
