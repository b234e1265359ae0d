#!/bin/sh
# Health check inside the container: does the server answer over TLS?
REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli --tls --cacert /certificates/ca.pem -h localhost ping | grep -q PONG
