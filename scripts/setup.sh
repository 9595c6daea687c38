#!/usr/bin/env bash
# Prepares a Debian or Ubuntu machine for the lab and the tests: distribution packages, a Docker daemon, the Python tooling.
# Idempotent; records in the cache what it installed and started, so that scripts/clean.sh can undo it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

step() { printf '\033[1m[setup %3ss]\033[0m %s\n' "$SECONDS" "$*"; }

installed() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | LC_ALL=C sort -u; }

# Installs what is missing, and records every package that came with it, so that exactly these can go again.
as_packages() {
  local before missing
  before=$(installed)
  missing=$(printf '%s\n' "$@" | LC_ALL=C sort -u | LC_ALL=C comm -23 - <(echo "$before"))
  [ -n "$missing" ] || return 0
  step "installing distribution packages: ${missing//$'\n'/ }"
  apt-get update -qq
  # shellcheck disable=SC2086 # one word a package
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >>"$GPUOPS_CACHE/setup.log" 2>&1 ||
    { tail -20 "$GPUOPS_CACHE/setup.log"; return 1; }
  installed | LC_ALL=C comm -13 <(echo "$before") - >>"$GPUOPS_CACHE/installed-packages"
}

start_docker() {
  docker info >/dev/null 2>&1 && return 0
  step "starting the Docker daemon"
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  else
    setsid dockerd >"$GPUOPS_CACHE/dockerd.log" 2>&1 </dev/null &
    echo $! >"$GPUOPS_CACHE/dockerd.pid"
  fi
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && return 0; sleep 0.5; done
  echo "The Docker daemon did not come up; see $GPUOPS_CACHE/dockerd.log." >&2
  return 1
}

make_venv() {
  local key venv
  key=$({ "$PYTHON" -VV; cat requirements.txt; } | sha256sum | cut -c1-12)
  venv=$GPUOPS_CACHE/venv-$key
  if [ ! -e "$venv/.complete" ]; then
    step "installing the Python tooling (about a minute)"
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv"
    "$venv/bin/pip" install -q -r requirements.txt
    touch "$venv/.complete"
  fi
  ln -sfn "$venv" "$GPUOPS_CACHE/venv"
}

mkdir -p "$GPUOPS_CACHE"
exec 9>"$GPUOPS_CACHE/setup.lock"
flock 9
as_packages apt-utils busybox-static ca-certificates dmidecode docker.io dpkg-dev gcc g++ git gnupg iptables kmod libc6-dev libstb-dev make mmdebstrap \
  nlohmann-json3-dev openssh-client pciutils python3-venv xz-utils
start_docker 9>&-
make_venv
mkdir -p "$(dirname "$GPUOPS_LINK")"
ln -sfn "$PWD" "$GPUOPS_LINK"
step "ready"
