"""What is raised when results cannot be given."""

from __future__ import annotations


class ExportError(Exception):
    """Data cannot be exported; the text says why and how to mend it."""
