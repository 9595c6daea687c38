#!/usr/bin/env bash
# Stops the Docker daemon if setup.sh started it by hand; one that systemd runs is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
pidfile=$GPUOPS_CACHE/dockerd.pid
[ -e "$pidfile" ] || exit 0
pid=$(cat "$pidfile")
if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
  kill "$pid"
  for _ in $(seq 60); do [ -e "/proc/$pid" ] || break; sleep 0.5; done
fi
rm -f "$pidfile"
