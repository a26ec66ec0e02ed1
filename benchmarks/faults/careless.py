"""Drivers as they must not be, for each kind of wire: where these are not caught, the proof is worth nothing.

- Lines of ASCII: the balance's drops nothing and cancels nothing before it asks.
- TCP: the arm's goes on with a connection on which an answer is owed.
- Modbus RTU: the press's keeps its port open after an answer that did not come in time.

Of two wires there is none, since nobody could be so careless. Modbus TCP numbers its transactions, and the client drops
an answer with another number than that of the request under way. Over HTTP each request has a connection of its own,
which ends with it: an answer that comes later, or twice, has nobody left to read it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from drivers.meca500.control import Control
from drivers.mt_sics.sics import Sics
from labd.io.modbus import ModbusLink


async def _nothing(*_: object) -> None:
    return


def _go_on(_: object) -> None:
    return


_open, _close = Control.open, Control.close


async def _open_once(self: Any) -> str:
    if not self._link.is_open:
        self.greeting = await _open(self)
    return str(self.greeting)


async def _close_the_dead(self: Any) -> None:
    if not self._link.is_open:
        await _close(self)


CARELESS: dict[str, tuple[type, dict[str, Callable[..., Any]]]] = {
    "balance": (Sics, {"_clear": _nothing}),
    "arm": (Control, {"_fresh": _nothing, "open": _open_once, "close": _close_the_dead}),
    "press": (ModbusLink, {"_distrust": _go_on, "close": _nothing}),
}


@contextlib.contextmanager
def careless(device: str) -> Iterator[None]:
    """The driver of one device takes, for the time of the block, whatever comes next for the answer."""
    kind, mutants = CARELESS[device]
    with mock.patch.multiple(kind, **mutants):
        yield
