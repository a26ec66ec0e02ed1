"""Did you mean …?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like a misspelt one, or None when none is near."""
    candidates = sorted(set(known))
    folded = {candidate.casefold(): candidate for candidate in candidates}
    if word.casefold() in folded:
        return folded[word.casefold()]
    found = difflib.get_close_matches(word[:80], candidates, n=1, cutoff=0.6)
    if not found and len(word) >= 3:
        found = [candidate for candidate in candidates if candidate.endswith(f"_{word}")][:1]
    return found[0] if found else None


def clipped(word: str) -> str:
    """A word as it stands in a message: its first 40 characters."""
    return word if len(word) <= 40 else f"{word[:39]}…"


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "there is") -> str:
    """A mend for an unknown word: the nearest known one, or a short list of all."""
    candidates = sorted(set(known))
    near = nearest(word, candidates)
    if near is not None:
        return f"did you mean `{near}`?"
    if not candidates:
        return ""
    shown = ", ".join(candidates[:8])
    return f"{otherwise}: {shown}{', …' if len(candidates) > 8 else ''}"
