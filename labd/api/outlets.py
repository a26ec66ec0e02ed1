"""Where files are written that somebody asks for: the daemon's own folder, or a place that its user names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fastapi import Request

from labd.api.errors import RefusedError


def outlet(named: Path | None, own: Path, caller: Request, *, key: str, word: str) -> Path:
    """The place that is named, or else our own.

    Args:
        named: as the request has it.
        own: where nothing is named.
        caller: whoever comes over TCP may name none.
        key: of the request, for messages.
        word: what such a place is called, `directory`.

    Raises:
        RefusedError: a place that may not be named, or that is not absolute.
    """
    if named is not None and caller.client is not None:
        raise RefusedError(403, "refused", f"a {word} can be named over the Unix socket only; leave it away")
    place = named or own
    if not place.is_absolute():
        raise RefusedError(422, "invalid_request", f"{key}: {place} is not absolute")
    return place


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """What is written within goes to a place; a disk that refuses is told. Raises RefusedError."""
    try:
        yield
    except OSError as error:
        said = f"{place} cannot be written: {error.strerror}; name another, or none for the daemon's own"
        raise RefusedError(409, "refused", said) from error
