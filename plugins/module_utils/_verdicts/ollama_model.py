# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that an Ollama server has a model as wished. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ollama_options import HINTS, OPTIONS
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_names import weights

Json = t.Dict[str, t.Any]
# Ollama writes "for ever" as now plus the largest duration of Go, 292 years.
FOREVER_YEAR = 2200


@dataclasses.dataclass(frozen=True)
class Wish:
    """The model asked for. None: not managed, left as it is. `sha256`: of the file's weights."""

    name: str
    present: bool = True
    sha256: t.Optional[str] = None
    source: t.Optional[str] = None
    parameters: t.Optional[Json] = None
    template: t.Optional[str] = None
    loaded: t.Optional[bool] = None

    @property
    def derived(self) -> bool:
        """Does the model differ from its source by more than the name."""
        return self.parameters is not None or self.template is not None


@dataclasses.dataclass(frozen=True)
class Have:
    """The server's answers: `models` (name → {digest, size}), `shown` and `base` (`/api/show` of the model and of its source), `running`, `has_blob`."""

    models: t.Dict[str, Json] = dataclasses.field(default_factory=dict)
    shown: t.Optional[Json] = None
    base: t.Optional[Json] = None
    running: t.Sequence[Json] = ()
    has_blob: bool = False


def parameters(given: t.Optional[Json]) -> t.Optional[Json]:
    """The given options with the types that the server wants. Raises PolicyError for unknown names and for values of another type."""
    if given is None:
        return None
    result = {}
    for name, value in given.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = HINTS.get(name) or ("did you mean %s?" % near[0] if near else "known are %s" % ", ".join(sorted(OPTIONS)))
            raise PolicyError("parameters: Ollama has no option %s; %s" % (name, hint), option=name)
        converted = _convert(OPTIONS[name], value)
        if converted is None:
            raise PolicyError("parameters: %s must be of type %s, not %r" % (name, OPTIONS[name], value), option=name)
        result[name] = converted
    return result


def _convert(kind: str, value: t.Any) -> t.Any:
    """`value` as the type, or None. Text is taken too, because templates give text."""
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        return items if all(isinstance(item, str) for item in items) else None
    if kind == "bool":
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool):
        return None
    try:
        return int(str(value)) if kind == "int" else float(value)
    except (TypeError, ValueError):
        return None


def shown_parameters(shown: t.Optional[Json]) -> Json:
    """The model's options: `/api/show` prints them as lines of name and value, a list as one line an element."""
    result: Json = {}
    for line in ((shown or {}).get("parameters") or "").splitlines():
        name, _blank, text = line.strip().partition(" ")
        try:
            value = json.loads(text.strip())
        except ValueError:
            value = text.strip()
        if OPTIONS.get(name) == "list":
            result.setdefault(name, []).append(value)
        else:
            result[name] = value
    return result


def resident(wish: Wish, have: Have) -> t.Optional[Json]:
    """The running entry of the model as it is in the store now; None when it is not loaded, or only an earlier version of it is."""
    digest = (have.models.get(wish.name) or {}).get("digest")
    return next((item for item in have.running if item.get("name") == wish.name and item.get("digest") == digest), None)


def plan(wish: Wish, have: Have) -> t.List[str]:
    """The steps that are missing, in order: `unload`, `delete`, `upload`, `pull`, `copy`, `create`, `load`. None: nothing to do."""
    in_memory = any(item.get("name") == wish.name for item in have.running)
    if not wish.present:
        return (["unload"] if in_memory else []) + (["delete"] if wish.name in have.models else [])
    steps = _store_steps(wish, have)
    if wish.loaded is False and in_memory:
        steps.append("unload")
    if wish.loaded and (steps or not _well_loaded(wish, have)):
        steps.append("load")
    return steps


def _store_steps(wish: Wish, have: Have) -> t.List[str]:
    if wish.sha256:
        if wish.name in have.models and weights(have.shown) == wish.sha256 and _same_settings(wish, have.shown, None):
            return []
        return ([] if have.has_blob else ["upload"]) + ["create"]
    source = wish.source or wish.name
    if source == wish.name:
        steps = [] if wish.name in have.models else ["pull"]
        # The base cannot be told from what was made of it under the same name: only what is asked for is compared.
        return steps + (["create"] if wish.derived and (steps or not _same_settings(wish, have.shown, have.shown)) else [])
    steps = [] if source in have.models else ["pull"]
    if not wish.derived:
        same = wish.name in have.models and not steps and have.models[wish.name].get("digest") == have.models[source].get("digest")
        return steps + ([] if same else ["copy"])
    same = wish.name in have.models and not steps and weights(have.shown) == weights(have.base) and _same_settings(wish, have.shown, have.base)
    return steps + ([] if same else ["create"])


def _same_settings(wish: Wish, shown: t.Optional[Json], base: t.Optional[Json]) -> bool:
    """Has the model the template and exactly the options wished, on top of those of its base."""
    shown = shown or {}
    if wish.template is not None and shown.get("template") != wish.template:
        return False
    if wish.template is None and base is not None and shown.get("template") != base.get("template"):
        return False
    if wish.parameters is None and base is None:
        return True
    current = shown_parameters(shown)
    inherited = shown_parameters(base)
    if base is None and "stop" in current and "stop" not in (wish.parameters or {}):
        # Made from a file, the server adds the stop words of a chat template that it knows.
        inherited = {"stop": current["stop"]}
    return current == dict(inherited, **(wish.parameters or {}))


def _well_loaded(wish: Wish, have: Have) -> bool:
    """Loaded, kept for ever, and with the context that its options ask for (the server cuts it to what the model was trained for)."""
    entry = resident(wish, have)
    if entry is None or not re.match(r"\d{4}", str(entry.get("expires_at"))) or int(str(entry["expires_at"])[:4]) < FOREVER_YEAR:
        return False
    context = shown_parameters(have.shown).get("num_ctx")
    if context is None or not entry.get("context_length"):
        return True
    info = (have.shown or {}).get("model_info") or {}
    trained = info.get("%s.context_length" % info.get("general.architecture"))
    return entry["context_length"] == (min(context, trained) if trained else context)


def summary(wish: Wish, have: Have) -> Json:
    """The model's state for people and for differences; `state: absent` alone when the server does not have it."""
    if wish.name not in have.models:
        return {"state": "absent"}
    entry = resident(wish, have)
    return {
        "state": "present",
        "weights": weights(have.shown),
        "parameters": shown_parameters(have.shown),
        "template": (have.shown or {}).get("template"),
        "loaded": entry is not None,
    }


def expected(wish: Wish, before: Json, steps: t.Sequence[str]) -> Json:
    """What `summary` will be after the steps, as far as it is known before they are done."""
    if not wish.present:
        return {"state": "absent"}
    after = dict(before, state="present")
    if wish.sha256:
        after["weights"] = wish.sha256
    if wish.parameters is not None:
        after["parameters"] = dict(before.get("parameters") or {}, **wish.parameters) if "create" not in steps else wish.parameters
    if wish.template is not None:
        after["template"] = wish.template
    after["loaded"] = "load" in steps or (bool(before.get("loaded")) and not steps)
    return after
