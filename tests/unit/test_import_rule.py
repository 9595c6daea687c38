"""Data flows in one direction: each room of plugins/ imports only from the rooms that docs/architecture.md names, and code that runs on
targets stays within what it may use."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "ansible_collections.gpuops.fleet."
UTILS = "plugins.module_utils."
FILES = sorted((ROOT / "plugins").rglob("*.py"))
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
MODULE_LIMIT = 60 * 1024

# Room → rooms whose names it may import; its own room always.
ALLOWED = {
    "modules": {"_evidence", "_verdicts", "_actions", "_check", "_module"},
    "_actions": {"_evidence", "_check"},
    "_evidence": {"_check", "_catalog"},
    "_catalog": set(),
    "_verdicts": {"_catalog", "_check"},
    "_check": set(),
    "_module": {"_check"},
    "filter": {"_check", "_verdicts"},
    "doc_fragments": set(),
}
# Who may touch the operating system. Verdicts and catalogues do no I/O and know no clock.
FORBIDDEN = {
    "_verdicts": {"os", "io", "socket", "subprocess", "pathlib", "shutil", "time", "datetime", "glob", "urllib", "http", "random"},
    "_catalog": {"os", "io", "socket", "subprocess", "pathlib", "shutil", "time", "datetime", "glob", "urllib", "http", "random"},
    "modules": {"socket"},
}


def room(path):
    parts = path.relative_to(ROOT / "plugins").parts
    if parts[0] == "module_utils":
        return parts[1].removesuffix(".py")
    return parts[0]


def nodes(tree, lazy):
    """All nodes below `tree`; without `lazy` not those inside functions, which run only when they are needed."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if lazy or not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield from nodes(node, lazy)


def imports(path, lazy=True):
    """Names of the modules that `path` imports."""
    found = []
    for node in nodes(ast.parse(path.read_text()), lazy):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "%s: relative import" % path
            found.append(node.module)
            found.extend("%s.%s" % (node.module, alias.name) for alias in node.names)
    return found


def own(path, lazy=True):
    """The files of module_utils that `path` imports directly."""
    found = set()
    for name in imports(path, lazy):
        if name.startswith(PREFIX + UTILS):
            file = (ROOT / name.removeprefix(PREFIX).replace(".", "/")).with_suffix(".py")
            if file.exists():
                found.add(file)
    return found


def closure(path):
    """The files of module_utils that are imported when `path` starts."""
    found, waiting = set(), [path]
    while waiting:
        for file in own(waiting.pop(), lazy=False) - found:
            found.add(file)
            waiting.append(file)
    return found


def test_there_is_something_to_test():
    assert {room(path) for path in FILES} >= {"modules", "_evidence", "_verdicts", "_catalog", "_check", "_module", "filter"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path):
    here = room(path)
    assert here in ALLOWED, "a new room: name it in docs/architecture.md and here"
    for file in own(path):
        assert room(file) in ALLOWED[here] | {here}, "%s imports %s" % (path, file)
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots & FORBIDDEN.get(here, set())
    assert "subprocess" not in roots, "commands go through AnsibleModule.run_command"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_owner_builds_an_ansiblemodule(path):
    assert room(path) == "_module" or "AnsibleModule(" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_a_module_compiles_at_every_start_stays_small(path):
    files = closure(path)
    size = sum(file.stat().st_size for file in files)
    assert size <= MODULE_LIMIT, "%s imports %d bytes: %s" % (path.stem, size, sorted((file.stat().st_size, file.name) for file in files))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_runs_on_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))
    assert "from __future__ import annotations" in path.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "plugins" / "module_utils").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_utils_say_that_they_are_private(path):
    tree = ast.parse(path.read_text())
    assert "private" in (ast.get_docstring(tree) or "").lower()


@pytest.mark.parametrize("path", [path for name in ("plugins", "roles", "playbooks") for path in sorted((ROOT / name).rglob("*")) if path.is_file()], ids=str)
def test_the_product_knows_of_no_lab(path):
    if path.suffix in (".py", ".yml", ".j2"):
        text = path.read_text()
        assert not any(word in text for word in ("tests/lab", "mirror.lab", "gpuops-lab", "LAB_NVML_STATE", "/var/lib/lab")), path
