#!/bin/sh
# Health check inside the container: does the broker answer over TLS to somebody who signs in?
mosquitto_sub -h localhost -p 8883 --cafile /certificates/ca.pem -u reader -P "$(cat /run/secrets/mqtt_reader_password)" \
  -t '$SYS/broker/uptime' -C 1 -W 4 >/dev/null
