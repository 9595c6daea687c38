#!/usr/bin/env bash
# Runs a command with the project's tooling in PATH, from the root of the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
exec "$@"
