"""The campaigns that ship with labd: in `labd/_campaigns` of a wheel, in `campaigns/` of a checkout."""

from __future__ import annotations

import re
from pathlib import Path

import labd

_PACKAGE = Path(labd.__file__).parent
_NAME = re.compile(r"""^["']?campaign["']?\s*:\s*["']?([a-z][a-z0-9_-]*)""", re.MULTILINE)


def shipped_campaigns() -> dict[str, Path]:
    """All shipped campaigns by name."""
    places = (_PACKAGE / "_campaigns", _PACKAGE.parent / "campaigns")
    folder = next((place for place in places if place.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def find_campaign(name: str) -> Path:
    """The file of a campaign: a path, or the name of a shipped one. Raises FileNotFoundError."""
    if Path(name).is_file():
        return Path(name)
    known = shipped_campaigns()
    if name in known:
        return known[name]
    raise FileNotFoundError(f"{name}: no such file, and no shipped campaign of this name ({', '.join(known)})")


def name_in(path: Path) -> str | None:
    """What a campaign's file calls it, without a check of it."""
    found = _NAME.search(path.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None
