#!/usr/bin/env bash
# Runs the named stages of the tests in the order given; stops at the first that fails. Leaves no node and no daemon behind that it started.
# Stages: setup lint sanity unit artifact lab molecule
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

stage() { printf '\n\033[1m=== %s (%ss)\033[0m\n' "$*" "$SECONDS"; }

daemon_before=$(cat "$GPUOPS_CACHE/dockerd.pid" 2>/dev/null || true)
docker_before=$(docker info >/dev/null 2>&1 && echo up || echo down)
nodes_started=

finish() {
  local status=$?
  # Tests take their own nodes down; the mirror and the network go too, unless somebody else's node still needs them.
  if [ -n "$nodes_started" ] && [ -z "$(python3 -m tests.lab list)" ]; then python3 -m tests.lab down --all || status=1; fi
  if [ "$docker_before" = down ] && [ "$(cat "$GPUOPS_CACHE/dockerd.pid" 2>/dev/null || true)" != "$daemon_before" ]; then
    bash scripts/stop-docker.sh
  fi
  stage "finished with status $status"
  exit "$status"
}
trap finish EXIT

do_setup() { bash scripts/setup.sh; }

do_lint() {
  ruff check plugins tests molecule scripts
  yamllint --strict .
  mypy plugins/module_utils plugins/modules plugins/filter
  antsibull-changelog lint
  (cd "$GPUOPS_LINK" && antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs self .)
  ansible-lint --offline --profile production
}

do_sanity() { bash scripts/sanity.sh; }

do_unit() { python3 -m pytest tests/unit -q -n 2 -m "not lab"; }

# The artifact as a user gets it: built, installed into an empty folder, its playbook and its modules found there.
do_artifact() (
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  ansible-galaxy collection build --output-path "$folder" >/dev/null
  export ANSIBLE_COLLECTIONS_PATH=$folder/installed
  ansible-galaxy collection install --offline --no-deps -p "$folder/installed" "$folder"/gpuops-fleet-*.tar.gz >/dev/null
  cd "$folder"
  ansible-playbook gpuops.fleet.site --syntax-check -i localhost,
  ansible -i localhost, -c local localhost -e "ansible_python_interpreter=$(command -v python3)" -m gpuops.fleet.gpu_facts >facts
  grep -q '"\?gpu"\?: *' facts
)

do_lab() {
  nodes_started=1
  python3 -m tests.lab.ollama.build >/dev/null
  # By file, so that the tests of one file share its nodes.
  python3 -m pytest tests/unit tests/lab/tests -q -m lab -n 2 --dist loadfile
}

do_molecule() {
  nodes_started=1
  python3 scripts/molecule.py
}

for one in "$@"; do
  stage "$one"
  "do_$one"
done
printf '\nAll stages passed: %s\n' "$*"
