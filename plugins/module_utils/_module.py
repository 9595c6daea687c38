# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one owner of AnsibleModule. Private to gpuops.fleet: the names may change in any release.

A module of this collection is a function that gets a `FleetModule`:

    def check(fleet: FleetModule) -> None:
        facts = fleet.facts(read_gpu)
        fleet.finish_checks(firmware.check(facts))

    def main() -> None:
        FleetModule(CHECK_ARGUMENTS).run(check)
"""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, STATUSES, Check, FleetError, PolicyError, one_line, worst

Run = t.Callable[..., t.Tuple[int, str, str]]

# Arguments of every module that judges facts: what it judges, and which answers fail the task.
FACTS_ARGUMENTS: t.Dict[str, t.Any] = {"facts": {"type": "dict"}}
FAIL_ON_ARGUMENTS: t.Dict[str, t.Any] = {"fail_on": {"type": "list", "elements": "str", "choices": list(STATUSES), "default": [FAIL]}}
CHECK_ARGUMENTS: t.Dict[str, t.Any] = dict(FACTS_ARGUMENTS, **FAIL_ON_ARGUMENTS)

RC_NOT_FOUND = 127
RC_TIMED_OUT = 124


class FleetModule:
    """AnsibleModule with the conventions of this collection. Keyword arguments go to AnsibleModule; check mode is supported by default."""

    def __init__(self, argument_spec: t.Dict[str, t.Any], **options: t.Any):
        options.setdefault("supports_check_mode", True)
        self._module = AnsibleModule(argument_spec=argument_spec, **options)
        self._module.run_command_environ_update = {"LC_ALL": "C", "LANGUAGE": "C"}

    @property
    def params(self) -> t.Dict[str, t.Any]:
        """The validated parameters of the task."""
        return self._module.params

    @property
    def check_mode(self) -> bool:
        """True when the task must not change anything."""
        return bool(self._module.check_mode)

    @property
    def diff_mode(self) -> bool:
        """True when the user asked for differences."""
        return bool(getattr(self._module, "_diff", False))

    @property
    def ansible(self) -> AnsibleModule:
        """The AnsibleModule itself, for what has no place here (atomic_move, tmpdir, …)."""
        return self._module

    def warn(self, message: str) -> None:
        """Show `message` to the user as a warning of the task."""
        self._module.warn(one_line(message))

    def run_command(self, args: t.Sequence[str], timeout_seconds: t.Optional[float] = None, **options: t.Any) -> t.Tuple[int, str, str]:
        """Run `args` (never a shell) with LC_ALL=C and return `(rc, stdout, stderr)`.

        rc 127: the program does not exist; rc 124: it ran longer than `timeout_seconds` and was killed (coreutils' timeout,
        because AnsibleModule.run_command has no limit of its own). Never raises for what the program does.
        """
        command = [str(arg) for arg in args]
        if timeout_seconds is not None:
            command = ["timeout", "--kill-after=2", "%g" % timeout_seconds] + command
        options.setdefault("check_rc", False)
        options.setdefault("handle_exceptions", False)
        try:
            rc, out, err = self._module.run_command(command, **options)
        except OSError as error:
            return RC_NOT_FOUND, "", str(error)
        # SIGKILL after the grace period shows as 137 (or -9): the same verdict for callers.
        if timeout_seconds is not None and rc in (RC_TIMED_OUT, 137, -9):
            return RC_TIMED_OUT, out, err
        return rc, out, err

    def facts(self, read: t.Callable[[Run], t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
        """The facts to judge: the parameter `facts`, or else what `read(run_command)` returns now."""
        given = self.params.get("facts")
        if given is None:
            return read(self.run_command)
        # Both spellings that users have at hand: `ansible_facts.gpu`, and the registered result's `ansible_facts`.
        if isinstance(given.get("gpu"), dict):
            given = given["gpu"]
        if "devices" not in given or "driver" not in given:
            raise PolicyError("facts has no devices and driver: pass ansible_facts.gpu as gpuops.fleet.gpu_facts returned it", keys=sorted(map(str, given)))
        return given

    def run(self, function: t.Callable[[FleetModule], None]) -> None:
        """Call `function(self)` and turn an error of this collection into the failure of the task."""
        try:
            function(self)
        except FleetError as error:
            self.fail(error)

    def finish(self, changed: bool = False, **result: t.Any) -> t.NoReturn:
        """End the task well."""
        self._module.exit_json(changed=changed, **result)
        raise AssertionError("exit_json returned")

    def fail(self, error: FleetError, **result: t.Any) -> t.NoReturn:
        """End the task with `error`: `msg` for humans, `error` ({kind, …details}) for programs."""
        self._module.fail_json(msg=error.message, error=dict(error.details, kind=error.kind), **result)
        raise AssertionError("fail_json returned")

    def require_library(self, name: str, import_error: t.Optional[str], reason: str = "") -> None:
        """Fail the task when the guarded import of the Python library `name` left a traceback in `import_error`."""
        if import_error is not None:
            message = one_line(missing_required_lib(name, reason=reason or None))
            self._module.fail_json(msg=message, exception=import_error, error={"kind": "library", "library": name})

    def finish_checks(self, checks: t.Sequence[Check], fail_on: t.Optional[t.Sequence[str]] = None, **result: t.Any) -> t.NoReturn:
        """End the task with `checks`, their worst `status` and a `msg`; it fails when a status is in `fail_on` (default: the parameter)."""
        limits = self.params.get("fail_on") if fail_on is None else fail_on
        limits = [FAIL] if limits is None else limits
        result = dict(result, checks=[check.to_dict() for check in checks], status=worst(check.status for check in checks))
        result.setdefault("changed", False)
        refused = [check for check in checks if check.status in limits]
        if not checks and "unknown" in limits:
            self._module.fail_json(msg="nothing was checked", **result)
        if refused:
            self._module.fail_json(msg="\n".join(check.line() for check in refused), **result)
        self._module.exit_json(msg=summary(checks), **result)
        raise AssertionError("exit_json returned")


def summary(checks: t.Sequence[Check]) -> str:
    """A count of the statuses in one line, then one line a check that is neither `pass` nor `skipped`."""
    counts = ["%d %s" % (number, status) for status in STATUSES for number in [sum(check.status == status for check in checks)] if number]
    lines = [", ".join(counts) or "nothing was checked"]
    lines.extend(check.line() for check in checks if check.status not in (PASS, SKIPPED))
    return "\n".join(lines)
