"""Events: what the journal holds, and the chain of hashes that ties each to the one before."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
"""What the first event of a journal has in place of the hash before it."""


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class JournalError(Exception):
    """The journal cannot be opened, read or written; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be written.

    Args:
        kind: what happened, `<thing>.<happening>`, such as `action.intended`.
        data: JSON values. They are copied when the event is handed in; a number that is not finite becomes null.
        run: the run that it belongs to, or None.
        at: when it happened, RFC 3339 in UTC with microseconds; default: now.
    """

    kind: str
    data: Mapping[str, Any]
    run: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it stands in the journal. `hash` is over the hash before it and all its own fields."""

    seq: int
    at: str
    run: str | None
    kind: str
    data: dict[str, Any]
    hash: str


def encode(kind: str, data: Mapping[str, Any]) -> str:
    """An event's data as canonical JSON: keys sorted, no spaces, no number that is not finite.

    Raises:
        JournalError: a value that JSON has no word for.
    """
    try:
        return _canonical(data)
    except ValueError:  # NaN or infinity: a value that nobody could tell
        return encode(kind, _finite(data))
    except TypeError as error:
        raise JournalError(f"{kind} cannot be journaled: {error}; hand in JSON values only") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def chain(before: str, seq: int, at: str, run: str | None, kind: str, data: str) -> str:
    """The hash of an event, in hexadecimal: SHA-256 over the canonical JSON `[before,seq,at,run,kind,data]`.

    `data` is already encoded. Anyone can compute it again from the file with a JSON library.
    """
    who = "null" if run is None else _canonical(run)
    text = f'["{before}",{seq},{_canonical(at)},{who},{_canonical(kind)},{data}]'
    return hashlib.sha256(text.encode()).hexdigest()
