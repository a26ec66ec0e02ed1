"""Protocols by path, or by the name of one that ships with labd."""

from __future__ import annotations

import difflib
from pathlib import Path

from labd.cli.errors import BAD_INPUT, CliError

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "_protocols", _PACKAGE.parent / "protocols")
"""In a wheel, and in a checkout."""


def names() -> list[str]:
    """The names of the protocols that ship."""
    found = {path.stem for folder in FOLDERS if folder.is_dir() for path in folder.glob("*.yaml")}
    return sorted(found)


def find(protocol: str) -> Path:
    """The file of a protocol.

    Raises:
        CliError: neither a file nor the name of a shipped one.
    """
    path = Path(protocol)
    if path.is_file():
        return path
    name = protocol.removesuffix(".yaml")
    if "/" not in name:
        for folder in FOLDERS:
            if (folder / f"{name}.yaml").is_file():
                return folder / f"{name}.yaml"
    known = names()
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"shipped are: {', '.join(known) or 'none'}"
    raise CliError(f"there is no file {protocol}, and no protocol of that name ships with labd; {hint}", BAD_INPUT)


def read(path: Path) -> str:
    """The text of a protocol's file. Raises CliError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: cannot be read: {error.strerror}", BAD_INPUT) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path}: is not UTF-8 text", BAD_INPUT) from error
