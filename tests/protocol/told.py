"""Protocols to draw and to tell: those that ship, and one that has every element of the language."""

from __future__ import annotations

from pathlib import Path

from labd.protocol import Protocol, load
from labd.protocol.library import Library, folder
from labd.run.shipped import shipped

DATA = Path(__file__).parent / "data" / "telling"
EVERYTHING = DATA / "everything.yaml"
FILES = {**shipped(), "everything": EVERYTHING}


def protocol(name: str) -> Protocol:
    """One of them, with what it calls."""
    return load(FILES[name], library=Library(shipped()).under(folder(DATA)))
