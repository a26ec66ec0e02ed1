"""Virtual time at a walking pace: for a lab that a person looks at."""

from __future__ import annotations

import asyncio
import threading
import time

from labd import clock

STEP = 0.1  # s of the machine's time


async def keep_pace(factor: float) -> None:
    """Lets virtual time pass no faster than `factor` lab seconds a machine second; never ends by itself.

    A scaled clock would do the same with false time-outs: at 600-fold a limit of 5 s is 8 ms of the machine's. Virtual
    time still waits for whatever is under way, however slow the machine is.
    """
    never = threading.Event()
    lab, real = clock.monotonic(), time.perf_counter()
    while True:
        await asyncio.sleep(STEP * factor)
        ahead = (clock.monotonic() - lab) / factor - (time.perf_counter() - real)
        if ahead > 0:
            await asyncio.to_thread(never.wait, ahead)  # holds the clock; whatever comes over a wire is still served
        else:
            lab, real = clock.monotonic(), time.perf_counter()  # what was missed is not made up for in a rush
