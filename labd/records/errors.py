"""What is raised when results cannot be given."""

from __future__ import annotations


class ExportError(Exception):
    """Data cannot be exported; the text says why and how to mend it."""


class CrateError(Exception):
    """A crate cannot be written or read; the text says why and how to mend it."""
