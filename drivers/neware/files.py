"""Step files in the folder that labd and the cycler's PC share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path

from labd.sdk import Rejected, Unreachable

FACTORY = "neware"  # the password that a BTS server has from the factory
_ODD = re.compile(r"[^A-Za-z0-9._-]")


class StepFiles:
    """The folder.

    Args:
        here: as labd reaches it.
        there: as the cycler's PC calls it; None: the same.
    """

    def __init__(self, here: str, there: str | None) -> None:
        self._here = Path(here).absolute()  # the cycler may be a simulator in another folder
        self._there = there

    async def check(self) -> None:
        """Raises Unreachable when it is not there or cannot be written."""
        if not await asyncio.to_thread(lambda: self._here.is_dir() and os.access(self._here, os.W_OK)):
            raise Unreachable(
                f"directory: {self._here} is not there, or cannot be written; mount the folder that the cycler's PC "
                "shares, and let labd's user write it"
            )

    async def write(self, name: str, text: str) -> str:
        """Writes a file, whole or not at all; gives its name as the cycler's PC calls it.

        Raises:
            Rejected: it cannot be written: nothing was begun.
        """
        file = self._file(name)
        try:
            await asyncio.to_thread(_write, file, text)
        except OSError as error:
            raise Rejected(f"{file}: the step file cannot be written: {error.strerror or error}") from error
        if self._there is None:
            return str(file)
        return f"{self._there}{'' if self._there.endswith(('/', chr(92))) else self._separator}{file.name}"

    async def remove(self, name: str) -> None:
        """Takes a file away; harmless when it is gone.

        Raises:
            Unreachable: it cannot be.
        """
        try:
            await asyncio.to_thread(self._file(name).unlink, missing_ok=True)
        except OSError as error:
            raise Unreachable(f"{self._file(name)} cannot be taken away: {error.strerror or error}") from error

    def _file(self, name: str) -> Path:
        return self._here / f"{_ODD.sub('_', name)}.xml"

    @property
    def _separator(self) -> str:
        return "\\" if self._there is not None and "\\" in self._there else "/"


async def password_of(file: str | None) -> str:
    """The password of the BTS server's interface: what stands in a file, or the factory's.

    Raises:
        Unreachable: the file cannot be read.
    """
    if file is None:
        return FACTORY
    try:
        return (await asyncio.to_thread(Path(file).read_text, "utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreachable(f"password_file: {file} cannot be read: {error}") from error


def _write(file: Path, text: str) -> None:
    temporary = file.with_suffix(".part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
