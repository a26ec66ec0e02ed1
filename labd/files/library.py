"""The protocols that others may call, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labd.files.reader import read_file

_CALL = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,63})(?:@(0|[1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One protocol's text, and what messages call its file."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Library:
    """Texts, or files that are read when they are called, by the protocol's name."""

    sources: Mapping[str, str | Path]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def find(self, name: str) -> Entry | None:
        """A protocol by its name, or None. Raises InputErrors for a file that cannot be read."""
        source = self.sources.get(name)
        if source is None:
            return None
        return Entry(str(source), read_file(source)) if isinstance(source, Path) else Entry(name, source)

    def under(self, other: Library) -> Library:
        """Both; where a name stands in both, the other's counts."""
        return Library({**self.sources, **other.sources})


def folder(path: Path) -> Library:
    """The YAML files of a folder, each under its own name."""
    return Library({file.stem: file for pattern in ("*.yaml", "*.yml") for file in sorted(path.glob(pattern))})


def split_call(call: str) -> tuple[str, int | None]:
    """The name and the major version of `mix@1`; None where no version stands."""
    found = _CALL.fullmatch(call)
    if found is None:
        return call.partition("@")[0], None
    return found[1], int(found[2]) if found[2] is not None else None
