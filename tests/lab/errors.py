"""Errors that the entry point prints as one line."""
from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked; the message says why and what helps."""
