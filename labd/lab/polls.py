"""Keeping what polls read in the signal store."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from labd import clock
from labd.journal import SignalError, SignalStore
from labd.sdk import Signals

log = structlog.get_logger(__name__)


class PollKeeper:
    """Writes every poll's signals into the signal store, a series a device and unit.

    Args:
        signals: the store.
        boot_id: of this start of the daemon.
        full: whether the store's disk is full; polls are the first that are not written then.
    """

    def __init__(self, signals: SignalStore, boot_id: str, full: Callable[[], bool]) -> None:
        self._signals = signals
        self._full = full
        self._boot_id = boot_id
        self._columns: dict[str, tuple[str, ...]] = {}
        self._failing = False

    def keep(self, device: str, unit: str, signals: Signals) -> None:
        """One poll. Only numbers and booleans are samples; texts stand in the device's state."""
        series = f"{device}.{unit or 'poll'}.{self._boot_id}"
        try:
            if self._full():
                raise SignalError("the disk is full")  # noqa: TRY301 - told as the others are
            if series not in self._columns:
                self._columns[series] = self._signals.create_polls(series, device, unit, type(signals))
            values = [getattr(signals, name) for name in self._columns[series]]
            self._signals.append(series, (clock.now().timestamp(), *(None if v is None else float(v) for v in values)))
        except SignalError as error:  # a disk that is full is no fault of the device
            if not self._failing:
                log.error("polls are not kept", problem=str(error))  # noqa: TRY400 - the text says it all
            self._failing = True
        else:
            self._failing = False
