"""Protocols to draw and to tell: those that ship, and one that has every element of the language."""

from __future__ import annotations

from pathlib import Path

from labd.protocol import Protocol, load
from labd.run.shipped import library, shipped

DATA = Path(__file__).parent / "data" / "telling"
EVERYTHING = DATA / "everything.yaml"
FILES = {**shipped(), "everything": EVERYTHING}


def protocol(name: str) -> Protocol:
    """One of them, with what it calls."""
    return load(FILES[name], library=library(DATA))
