"""What the documentation says is what the code has: modules, check ids, variables of the roles."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.utils.plugin_docs import add_fragments
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import check_ids

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
FILTERS = sorted((ROOT / "plugins" / "filter").glob("*.py"))
ROLES = sorted(path.parent.parent for path in (ROOT / "roles").glob("*/tasks/main.yml"))
KEYWORDS = set(Task.fattributes) | set(Block.fattributes) | set(Play.fattributes) | {"hosts", "include_role", "import_role"}
# Facts of a device lie below `pcie.` as well.
NAME = r"(gpu|firmware|power|driver|container|ollama)\.[a-z][a-z0-9_]*|pcie\.(width|speed|acs)"


def constants(path):
    """The documentation strings of a plugin, as they are written."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found[node.targets[0].id] = node.value.value
    return found


def resolved(path):
    """DOCUMENTATION of a module with the fragments that it names."""
    docs = yaml.safe_load(constants(path)["DOCUMENTATION"])
    add_fragments(docs, str(path), FragmentLoader(), is_module=True)
    return docs


class FragmentLoader:
    """Finds doc fragments in this checkout, by the names that Ansible finds them by in the installed collection."""

    def get(self, name):
        collection, _dot, short = name.rpartition(".")
        path = ROOT / "plugins" / "doc_fragments" / ("%s.py" % short)
        if collection != "gpuops.fleet" or not path.exists():
            return None
        fragment = importlib.import_module("ansible_collections.gpuops.fleet.plugins.doc_fragments.%s" % short).ModuleDocFragment()
        fragment.ansible_name = name
        return fragment


def tasks(blocks):
    """All tasks of a list of tasks, blocks or plays."""
    for one in blocks:
        yield one
        for name in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers"):
            yield from tasks(one.get(name, []))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_documented(path):
    found = constants(path)
    docs, returns = resolved(path), yaml.safe_load(found["RETURN"])
    examples = DataLoader().load(found["EXAMPLES"])  # knows !unsafe
    assert docs["module"] == path.stem and docs["version_added"] and docs["short_description"] and docs["description"] and docs["author"]
    for name in ("check_mode", "diff_mode", "idempotent"):
        assert docs["attributes"][name]["support"] in ("full", "partial", "none", "N/A") and docs["attributes"][name]["description"]
    assert returns and all("description" in value and "type" in value for value in returns.values())
    used = {key for task in tasks(examples) for key in task} - KEYWORDS
    assert "gpuops.fleet.%s" % path.stem in used
    assert [key for key in used if key.count(".") < 2] == [], "an example calls a module by its short name"


@pytest.mark.parametrize("path", FILTERS, ids=lambda path: path.stem)
def test_a_filter_is_documented(path):
    found = constants(path)
    docs = yaml.safe_load(found["DOCUMENTATION"])
    assert docs["name"] == path.stem and docs["version_added"] and docs["short_description"]
    assert "gpuops.fleet.%s" % path.stem in found["EXAMPLES"] and "_value" in yaml.safe_load(found["RETURN"])


def test_the_action_group_lists_every_module():
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert runtime["action_groups"]["fleet"] == [path.stem for path in MODULES]


def test_the_architecture_lists_every_module_and_role():
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.split("## Modules", 1)[1].split("## ", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) and set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {path.stem for path in MODULES}
    assert [role.name for role in ROLES if "`%s`" % role.name not in text] == []


def test_one_row_a_check_and_one_check_a_row():
    in_code = set()
    for path in (ROOT / "plugins" / "module_utils" / "_verdicts").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(NAME, node.value):
                in_code.add(node.value)
    rows = [line for line in (ROOT / "docs" / "checks.md").read_text().splitlines() if line.startswith("| `")]
    in_docs = [row.split("`")[1] for row in rows]
    assert len(in_docs) == len(set(in_docs)) and set(in_docs) == in_code
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 6 and all(cells), row


def test_the_catalogue_of_check_ids_has_the_rows_in_their_order():
    rows = [line.split("`")[1] for line in (ROOT / "docs" / "checks.md").read_text().splitlines() if line.startswith("| `")]
    assert list(check_ids.PREFLIGHT + check_ids.PROOFS) == rows


def test_every_check_is_named_by_the_module_that_makes_it():
    texts = " ".join(constants(path)["DOCUMENTATION"] for path in MODULES)
    rows = [line.split("`")[1] for line in (ROOT / "docs" / "checks.md").read_text().splitlines() if line.startswith("| `")]
    assert [name for name in rows if "C(%s)" % name not in texts] == []


def load(path):
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def files(role, folder):
    return sorted((role / folder).glob("*.yml")) if (role / folder).is_dir() else []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_argument_specs_of_a_role_equal_its_defaults(role):
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    defaults = load(role / "defaults" / "main.yml") or {}
    options = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}
    assert specs["main"]["short_description"] and "main" in specs
    # A default of null cannot be told apart from no default in a specification: both mean that the role decides.
    assert set(options) == set(defaults), "specified and not in defaults, or the other way round: %s" % sorted(set(options) ^ set(defaults))
    for name, option in options.items():
        assert option.get("description"), name
        typed(name, option)
        assert option.get("default") == defaults[name], name
        assert type(option.get("default")) is type(defaults[name]), name
    for name in defaults:
        assert name.startswith(role.name + "_"), "%s: a public variable begins with the name of its role" % name


def typed(name, option):
    assert option.get("type") in ("str", "bool", "int", "float", "list", "dict", "path", "raw"), "%s has no type" % name
    if option["type"] == "list":
        assert option.get("elements"), "%s: a list says what it holds" % name
    for below, inner in (option.get("options") or {}).items():
        typed("%s.%s" % (name, below), inner)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_private_variables_of_a_role_begin_with_two_underscores_and_its_name(role):
    private = "__%s_" % role.name
    for path in files(role, "vars"):
        assert [name for name in load(path) or {} if not name.startswith(private)] == [], path
    for path in files(role, "tasks") + files(role, "handlers"):
        for task in tasks(load(path) or []):
            register = task.get("register")
            assert register is None or register.startswith((private, role.name + "_")), "%s: %s" % (path, register)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_has_a_readme_that_names_its_variables(role):
    text = (role / "README.md").read_text()
    assert [name for name in load(role / "defaults" / "main.yml") or {} if "`%s`" % name not in text] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_tasks_have_names_and_hide_no_error(role):
    for path in files(role, "tasks") + files(role, "handlers"):
        for task in tasks(load(path) or []):
            assert task.get("name"), path
            assert "ignore_errors" not in task, path
            assert [key for key in task if key in ("shell", "command", "copy", "template", "apt", "file", "debug")] == [], path
