"""The signal that aborts everything, from the first moment of the process: by default it would end labd instead."""

from __future__ import annotations

import signal

_pressed: list[int] = []


def listen() -> None:
    """Remembers SIGUSR1 until there is a daemon that obeys it. Imports next to nothing, to be the first thing done."""
    signal.signal(signal.SIGUSR1, lambda number, _: _pressed.append(number))


def pressed() -> bool:
    """Whether the signal has come since `listen`."""
    return bool(_pressed)
