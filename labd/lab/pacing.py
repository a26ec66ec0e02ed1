"""When a device is read next."""

from __future__ import annotations

import zlib

from labd import clock

OFTEN = 0.5  # s; devices with a shorter period each have their own moment in it
LEAST = 0.2  # of such a period, which lies between two readings
BEAT = 0.01  # s; moments are so far apart: what is read in the same one wakes the daemon once, and leaves in one piece


def pause(device: str, period: float) -> float:
    """Seconds from the end of a reading to the next: a period; of a short one, what is left until its own moment in it.

    A hundred devices that are read often would else all be read at once after whatever has kept them waiting, for ever:
    each late by all the others.
    """
    if period >= OFTEN:
        return period
    moments = max(1, int(period / BEAT))
    moment = zlib.crc32(device.encode()) % moments * period / moments
    left = (moment - clock.monotonic()) % period
    return left if left >= LEAST * period else left + period
