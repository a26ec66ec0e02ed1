"""Files that a person names on the command line."""

from __future__ import annotations

import os
import tempfile
from difflib import get_close_matches
from pathlib import Path

from labd.cli.errors import BAD_INPUT, CliError
from labd.run.shipped import find_protocol, shipped


def find(protocol: str) -> Path:
    """A protocol's file, by path or by the name of a shipped one. Raises CliError."""
    if Path(protocol).is_dir():
        raise CliError(f"{protocol}: is a folder; name a protocol's file in it", BAD_INPUT)
    try:
        return find_protocol(protocol)
    except FileNotFoundError as error:
        near = get_close_matches(Path(protocol).stem, shipped(), 1)
        mend = f"\n      → did you mean `{near[0]}`?" if near else ""
        raise CliError(f"{error}{mend}", BAD_INPUT) from error


def read(path: Path) -> str:
    """The text of a file. Raises CliError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: cannot be read: {error.strerror}", BAD_INPUT) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path}: is not UTF-8 text", BAD_INPUT) from error


def replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all; one that was there keeps its mode, a link its target. Raises CliError."""
    target = path.resolve()
    try:
        handle, made = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}", BAD_INPUT) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(made).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        Path(made).replace(target)
    except OSError as error:
        Path(made).unlink(missing_ok=True)
        raise CliError(f"{path}: cannot be written: {error.strerror}", BAD_INPUT) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
