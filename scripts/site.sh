#!/usr/bin/env bash
# Boots a simulated GPU server and runs the site playbook against it. Usage: scripts/site.sh PROFILE NAME
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
profile=$1 name=$2
inventory=$GPUOPS_CACHE/lab/inventory/$name.yml
# Built here and not by the inventory script, whose progress nobody would see: the real Ollama server takes some minutes the first time.
python3 -m tests.lab.ollama.build >/dev/null
python3 -m tests.lab up "$profile" --name "$name"
ansible-playbook gpuops.fleet.site -i "$inventory" -i tests/lab/site
printf '\nThe server runs on. A shell on it: make lab ARGS="shell %s". Remove it all: make clean.\n' "$name"
