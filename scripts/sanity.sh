#!/usr/bin/env bash
# ansible-test sanity on a copy of the tree: with the ansible-core of the tooling and with the oldest one that this Python can run.
# Usage: scripts/sanity.sh [newest|oldest]...   (default: both)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
checkout=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ansible-test insists on a real path that ends in ansible_collections/<namespace>/<name>.
tree=$work/ansible_collections/gpuops/fleet
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard -- . ':!tests/lab' ':!tests/unit' ':!tests/fixtures' ':!molecule' |
  while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
  tar --null -T - -cf - | tar -C "$tree" -xf -

# ansible-test fetches pip's bootstrap script from a host that need not be reachable. A shim in its cache, under the name
# that it looks for, installs the same version of pip from the configured package index instead.
pip_shims() {
  local cache=$HOME/.ansible/test/cache version
  mkdir -p "$cache"
  for version in 23.1.2 24.2 25.2; do
    cat >"$cache/get_pip_${version//./_}.py" <<PY
import glob, os, runpy, subprocess, sys, tempfile
folder = tempfile.mkdtemp()
subprocess.check_call(["$PYTHON", "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "pip==$version"])
wheel = glob.glob(os.path.join(folder, "pip-*.whl"))[0]
sys.path.insert(0, wheel)
sys.argv = ["pip", "install", "--no-index", "--disable-pip-version-check", wheel]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
PY
  done
}

# The oldest ansible-core that still runs on this Python: 2.17 up to Python 3.12, 2.18 on 3.13, 2.20 on 3.14.
oldest_core() {
  "$PYTHON" - <<'PY'
import sys
minor = sys.version_info[1]
print("2.17" if minor <= 12 else "2.18" if minor == 13 else "2.20")
PY
}

oldest_venv() {
  local core venv
  core=$(oldest_core)
  venv=$GPUOPS_CACHE/venv-core-$core
  if [ ! -e "$venv/.complete" ]; then
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv"
    "$venv/bin/pip" install -q "ansible-core==$core.*"
    touch "$venv/.complete"
  fi
  echo "$venv"
}

run_sanity() {
  local bin=$1
  "$bin/ansible-test" --version
  (cd "$tree" && PATH=$bin:$PATH "$bin/ansible-test" sanity --venv --python "$("$bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" --color no)
}

pip_shims
for which in "${@:-newest oldest}"; do
  for one in $which; do
    case $one in
      newest) run_sanity "$GPUOPS_CACHE/venv/bin" ;;
      oldest) run_sanity "$(oldest_venv)/bin" ;;
      *) echo "usage: $0 [newest|oldest]..." >&2; exit 2 ;;
    esac
  done
done
cd "$checkout"
