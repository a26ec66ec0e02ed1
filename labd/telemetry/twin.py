"""Two daemons under one lab's name at one broker: a mistake that is told, and made way for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection

import structlog

from labd import clock
from labd.lab.alarms import Alarms
from labd.telemetry.publisher import Backoff, Incoming

log = structlog.get_logger(__name__)

TWIN_ALARM = "mqtt-same-name"
TWIN_OVER = 1800.0  # s of the machine, of one connection, in which nothing is heard of it any more
GONE = ("lost", "offline")
LONGEST_ID = 64  # characters of a boot_id


class Twin:
    """Another daemon that speaks under the name of this lab. The broker cuts off the one whenever the other comes.

    It is told of and made way for: the waits between connections are long, so that who came last is left alone for
    minutes, and nobody's state flickers. Two labs under one name stay wrong until a person gives one another name.

    Args:
        lab: its name.
        boot_id: this daemon's.
        alarms: where it is told; nowhere when None.

    Attributes:
        known: what there is to say of it, or None.
        lives: boot_ids of earlier lives of this daemon: their last words are nobody else's.
        stirred: set when anything is heard of it, and when the connection ends.
        backoff: the waits between connections, while there is one.
    """

    def __init__(self, lab: str, boot_id: str, alarms: Alarms | None = None) -> None:
        self.known: str | None = None
        self.lives: Collection[str] = ()
        self.stirred = asyncio.Event()
        self._lab, self._boot_id = lab, boot_id
        self._alarms = alarms
        self.backoff = _patient()
        self._stood = False

    def stood(self) -> None:
        """The broker knows this daemon: what another one says at the next connection, it has said since."""
        self._stood = True

    def hear(self, incoming: Incoming) -> bool:
        """Takes a `status` that was published; gives whether this daemon has to say anew that it is there.

        It has to when a last word came after its own: the will of a connection that was only half dead, its own or of
        the life before. That cannot go to and fro: a last word comes once a connection. And when somebody who is no
        daemon has emptied the topic, or written there.
        """
        state, boot_id = told_of(incoming.payload)
        late = not incoming.retained and state in GONE
        if boot_id == self._boot_id:  # where the broker has no MQTT 5, one's own word comes back
            return late
        if boot_id is None or boot_id in self.lives:
            return not incoming.retained
        if not incoming.retained or self._stood:
            if state == "offline":
                self.over()
            else:
                self.suspect(boot_id)
        return late

    def suspect(self, boot_id: str | None = None) -> None:
        """There is one: its word was heard, or the broker has ended the connection in favour of another."""
        self.stirred.set()
        if self.known is not None and boot_id is None:
            return
        who = f"another daemon ({boot_id})" if boot_id else "another daemon"
        text = (
            f"{who} speaks to the MQTT broker as lab {self._lab!r}: each cuts the other off, and commands reach "
            "either. Stop it, or give one of the two labs another name (`lab` in lab.yaml)"
        )
        if self.known != text:
            log.error("another daemon has this lab's name", lab=self._lab, boot_id=boot_id)
        self.known = text
        if self._alarms is not None:
            self._alarms.tell(TWIN_ALARM, "problem", "lab", text)

    def over(self) -> None:
        """It has said good-bye, or nothing was heard of it for long. Harmless when there was none."""
        if self.known is not None:
            self.known = None
            self.backoff = _patient()
            if self._alarms is not None:
                self._alarms.end(TWIN_ALARM)

    async def watch(self) -> None:
        """Waits until anything stirs. A twin that does not for half an hour is none any more."""
        self.stirred.clear()
        try:
            async with asyncio.timeout(clock.of_machine(TWIN_OVER) if self.known is not None else None):
                await self.stirred.wait()
        except TimeoutError:
            self.over()


def told_of(status: bytes) -> tuple[str | None, str | None]:
    """State and boot_id of a `status`; None for what it does not tell."""
    try:
        told = json.loads(status)
    except ValueError:
        return None, None
    if not isinstance(told, dict):
        return None, None
    state, boot_id = told.get("state"), told.get("boot_id")
    # A longer boot_id is no daemon's.
    known = isinstance(boot_id, str) and len(boot_id) <= LONGEST_ID
    return (state if isinstance(state, str) else None), (boot_id if known else None)


def _patient() -> Backoff:
    return Backoff(least=30.0, greatest=300.0, steady=TWIN_OVER)
