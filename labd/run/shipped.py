"""The protocols that ship with labd: in `labd/_protocols` of a wheel, in `protocols/` of a checkout."""

from __future__ import annotations

from pathlib import Path

import labd
from labd.files.library import Library, folder

_PACKAGE = Path(labd.__file__).parent


def shipped() -> dict[str, Path]:
    """All shipped protocols by name."""
    folder = next((place for place in (_PACKAGE / "_protocols", _PACKAGE.parent / "protocols") if place.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def library(*beside: Path) -> Library:
    """The protocols that may be called: the shipped ones, and over them those of the folders."""
    found = Library(shipped())
    for place in beside:
        found = found.under(folder(place))
    return found


def find_protocol(name: str) -> Path:
    """The file of a protocol: a path, or the name of a shipped one.

    Raises:
        FileNotFoundError: neither; the text names the shipped ones.
    """
    if Path(name).is_file():
        return Path(name)
    known = shipped()
    if name in known:
        return known[name]
    raise FileNotFoundError(f"{name}: no such file, and no shipped protocol of this name ({', '.join(known)})")
