#!/usr/bin/env bash
# Sourced by the other scripts: where things lie, and the tools of the project first in PATH.
export GPUOPS_CACHE=${GPUOPS_CACHE:-/var/cache/gpuops-fleet}
GPUOPS_COLLECTIONS=$GPUOPS_CACHE/checkouts/$(pwd -P | sha256sum | cut -c1-8)
export GPUOPS_COLLECTIONS
export GPUOPS_LINK=$GPUOPS_COLLECTIONS/ansible_collections/gpuops/fleet
export ANSIBLE_COLLECTIONS_PATH=$GPUOPS_COLLECTIONS
export ANSIBLE_HOME=$GPUOPS_COLLECTIONS/ansible-home
export MOLECULE_GLOB="molecule/*/molecule.yml"
export ANSIBLE_CALLBACK_RESULT_FORMAT=yaml
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$PWD
# Looked up before the virtual environment comes first in PATH: the tooling is built with the machine's own Python.
if [ -z "${PYTHON:-}" ]; then
  for PYTHON in python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$PYTHON" >/dev/null && "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
  done
fi
if ! PYTHON=$(command -v "$PYTHON") || ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed. Install it, or set PYTHON=/path/to/python3." >&2
  exit 1
fi
export PYTHON
export PATH=$GPUOPS_CACHE/venv/bin:$PATH:/usr/sbin:/sbin
