"""The errors that a driver may raise. What follows from each is one table in the runtime, not the driver's affair."""

from __future__ import annotations


class DeviceError(Exception):
    """Base of every error that a driver may raise.

    Args:
        message: what is wrong, in words a technician understands.
        sent: what was sent, as text, where it helps.
        received: what came back, as text, where it helps.
    """

    def __init__(self, message: str, *, sent: str | None = None, received: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent
        self.received = received
        self.device: str | None = None  # filled in by the runtime, which knows the names of the lab
        self.action: str | None = None

    def __str__(self) -> str:
        place = ".".join(part for part in (self.device, self.action) if part)
        wire = "".join(
            f"; {what} {text!r}" for what, text in (("sent", self.sent), ("received", self.received)) if text
        )
        return f"{place}: {self.message}{wire}" if place else f"{self.message}{wire}"

    @property
    def kind(self) -> str:
        """The class as protocols name it in `catch`: unreachable, rejected, fault, unknown."""
        return next((_KINDS[cls] for cls in type(self).__mro__ if cls in _KINDS), "fault")


class Unreachable(DeviceError):
    """Nothing was sent."""


class OutcomeUnknown(DeviceError):
    """Sent, and no answer: it may have happened."""


class Rejected(DeviceError):
    """Refused, by the device or by the driver before sending: nothing moved."""


class Fault(DeviceError):
    """The device stopped itself: a person must look."""


_KINDS: dict[type[object], str] = {
    Unreachable: "unreachable",
    OutcomeUnknown: "unknown",
    Rejected: "rejected",
    Fault: "fault",
}
