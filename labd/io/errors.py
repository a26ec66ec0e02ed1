"""What a broken or silent link means for the order that was on it: the mapping from I/O to the driver's errors."""

from __future__ import annotations

from labd.sdk import DeviceError, OutcomeUnknown, Unreachable

_SHOWN = 160  # characters of a request or an answer that an error message carries


class LinkLost(ConnectionError):
    """The link broke, or was never open: any I/O error counts, since what is left of such a link lies."""


def shown(data: bytes) -> str | None:
    """Bytes as they stand in an error message: printable, and not a whole script; None when there were none."""
    text = data.decode("ascii", "backslashreplace")
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") or None


def failure(message: str, *, sent: bytes, received: bytes = b"") -> DeviceError:
    """The error of a request that got no full answer.

    Nothing of it went out: Unreachable. Something did: OutcomeUnknown, for it may have been carried out.
    """
    if not sent:
        return Unreachable(message, received=shown(received))
    return OutcomeUnknown(message, sent=shown(sent), received=shown(received))
