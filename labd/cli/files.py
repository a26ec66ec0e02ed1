"""Files that a person names on the command line."""

from __future__ import annotations

from pathlib import Path

from labd.cli.errors import BAD_INPUT, CliError
from labd.run.shipped import find_protocol


def find(protocol: str) -> Path:
    """A protocol's file, by path or by the name of a shipped one. Raises CliError."""
    try:
        return find_protocol(protocol)
    except FileNotFoundError as error:
        raise CliError(str(error), BAD_INPUT) from error


def read(path: Path) -> str:
    """The text of a file. Raises CliError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: cannot be read: {error.strerror}", BAD_INPUT) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path}: is not UTF-8 text", BAD_INPUT) from error
