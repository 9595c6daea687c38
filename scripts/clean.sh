#!/usr/bin/env bash
# Removes everything that the project put on this machine: nodes, images, build products, tooling, the daemon and the packages that setup added.
# KEEP_PACKAGES=1 keeps the distribution packages.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

if docker info >/dev/null 2>&1 && [ -x "$GPUOPS_CACHE/venv/bin/python3" ]; then
  python3 -m tests.lab clean
fi
others=$(docker ps -aq 2>/dev/null | wc -l)
bash scripts/stop-docker.sh
if [ -e "$GPUOPS_CACHE/installed-packages" ] && [ -z "${KEEP_PACKAGES:-}" ]; then
  mapfile -t packages < <(sort -u "$GPUOPS_CACHE/installed-packages")
  if [ "$others" -gt 0 ]; then
    echo "Other containers use this Docker: its packages stay."
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | grep -vE '^(docker|containerd|runc|iptables|libip|tini)')
  fi
  echo "Removing the distribution packages that setup installed: ${packages[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq "${packages[@]}" >/dev/null
fi
rm -rf "$GPUOPS_CACHE" .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible tests/output bench
find . -name __pycache__ -type d -prune -exec rm -rf {} +
rm -f "$HOME"/.ansible/test/cache/get_pip_{23_1_2,24_2,25_2}.py
