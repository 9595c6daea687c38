"""Places in nested data, and values of the wrong kind to put there."""

from __future__ import annotations


def places(value, prefix=()):
    """The path to every value below `value`, and () for itself."""
    yield prefix
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*prefix, key))


def put(whole, place, value):
    """Set the value at `place`, where an earlier change has left such a place."""
    owner = whole
    for key in place[:-1]:
        owner = owner[key] if holds(owner, key) else None
    if isinstance(owner, dict) or holds(owner, place[-1]):
        owner[place[-1]] = value


def holds(owner, key):
    """Whether `owner` is a dict or a list with something at `key`."""
    return (isinstance(owner, dict) and key in owner) or (isinstance(owner, list) and isinstance(key, int) and key < len(owner))
