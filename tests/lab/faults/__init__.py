"""Faults: each breaks one thing in a running node by changing state, never by patching code."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.errors import LabError
from tests.lab.node.node import Node


@dataclass(frozen=True)
class Fault:
    """One fault: what it does, the keys that it takes with their defaults (None = must be given, "" = may be left out), and the function."""

    about: str
    keys: dict[str, str | None]
    function: Callable[..., str]


FAULTS: dict[str, Fault] = {}


def fault(name: str, about: str, **keys: str | None) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register a function `(node, **keys) -> message` as a fault."""

    def register(function: Callable[..., str]) -> Callable[..., str]:
        FAULTS[name] = Fault(about, keys, function)
        return function

    return register


def table() -> str:
    """Return the list of faults for the help text."""
    lines = ["faults:"]
    for name, entry in sorted(FAULTS.items()):
        lines.append(f"  {name:16} {entry.about}")
        if entry.keys:
            lines.append(f"  {'':16}   {' '.join(_describe(key, value) for key, value in entry.keys.items())}")
    return "\n".join(lines)


def _describe(key: str, default: str | None) -> str:
    if default is None:
        return f"{key}=…"
    return f"{key}={default}" if default else f"[{key}=…]"


def inject(name: str, node: Node, settings: dict[str, str]) -> str:
    """Inject a fault; returns one line that says what is broken now. Raises LabError for a key that it does not take."""
    entry = FAULTS[name]
    if unknown := settings.keys() - entry.keys.keys():
        raise LabError(f"{name} takes no {', '.join(sorted(unknown))}; its keys: {', '.join(entry.keys) or 'none'}")
    values = {**entry.keys, **settings}
    if missing := [key for key, value in values.items() if value is None]:
        raise LabError(f"{name} needs {', '.join(missing)}")
    return f"{node.name}: {entry.function(node, **values)}"


from tests.lab.faults import firmware, gpu, network  # noqa: E402, F401  (they register their faults)
