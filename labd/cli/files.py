"""Files that a person names on the command line."""

from __future__ import annotations

import os
import tempfile
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from labd.cli.errors import BAD_INPUT, CliError
from labd.files import InputErrors, Problem, read_file
from labd.run.shipped import find_protocol, library, shipped

if TYPE_CHECKING:
    from labd.protocol import Protocol
    from labd.protocol.facts import LabFacts


def find(protocol: str) -> Path:
    """A protocol's file, by path or by the name of a shipped one. Raises InputErrors."""
    if Path(protocol).is_dir():
        mend = "name a protocol's file in it"
        raise InputErrors([Problem("P101", "this is a folder", protocol, mend=mend)])
    try:
        return find_protocol(protocol)
    except FileNotFoundError as error:
        near = get_close_matches(Path(protocol).stem, shipped(), 1)
        mend = f"did you mean `{near[0]}`?" if near else f"those that ship with labd: {', '.join(shipped())}"
        message = "no such file, and no shipped protocol of this name"
        raise InputErrors([Problem("P101", message, protocol, mend=mend)]) from error


def campaign_file(name: str) -> Path | None:
    """The file, where a name is that of a campaign, and not of a protocol."""
    from labd.campaign.shipped import shipped_campaigns

    path = Path(name)
    if not path.is_file():
        return None if name in shipped() else shipped_campaigns().get(name)
    from labd.campaign.loader import is_campaign

    try:
        return path if is_campaign(read_file(path)) else None
    except InputErrors:
        return None  # told as that of a protocol


def load_named(protocol: str) -> Protocol:
    """A protocol by path or by the name of a shipped one; what it calls is found beside it, and among the shipped.

    Raises:
        InputErrors: there is no such file; or with everything that is wrong with its shape.
    """
    from labd.protocol import load

    path = find(protocol)
    return load(path, protocol, library(path.parent))


def rest_named(protocol: str, facts: LabFacts | None, told: InputErrors) -> list[Problem]:
    """The mistakes in the other parts of a file that could not be loaded."""
    from labd.protocol.partial import rest_of

    try:
        path = find(protocol)
    except InputErrors:
        return []
    return rest_of(path, protocol, library(path.parent), facts, told)


def read(path: Path) -> str:
    """The text of a file. Raises CliError."""
    try:
        return read_file(path)
    except InputErrors as errors:
        raise CliError(str(errors), BAD_INPUT) from errors


def called_by(path: Path, text: str) -> dict[str, str]:
    """The texts that a protocol's run needs beside its own. What is wrong with the file, the daemon tells."""
    if "call:" not in text:
        return {}
    from labd.protocol import load

    try:
        return dict(load(text, str(path), library(path.parent)).texts)
    except InputErrors:
        return {}


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
