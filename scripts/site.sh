#!/usr/bin/env bash
# Boots a simulated GPU server and runs the site playbook against it. Usage: scripts/site.sh PROFILE NAME
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
profile=$1 name=$2
inventory=$GPUOPS_CACHE/lab/inventory/$name.yml
python3 -m tests.lab up "$profile" --name "$name"
ansible-playbook gpuops.fleet.site -i "$inventory" -i tests/lab/site
printf '\nThe server runs on. A shell on it: make lab ARGS="shell %s". Remove it all: make clean.\n' "$name"
