"""The connection to the broker: kept up, watched, and told of. What goes over it is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from labd import clock
from labd.lab.alarms import Alarms
from labd.telemetry.publisher import STEADY, Backoff, ConnectionLost, Message, Publisher, Session, TakenOver
from labd.telemetry.twin import Twin

log = structlog.get_logger(__name__)

AWAY = 60.0  # s of the machine without a connection that stays; then there is an alarm
AWAY_ALARM = "mqtt-broker"


class Link:
    """Connects again and again.

    Args:
        twin: told when another daemon has taken the connection's place.
        alarms: where it is told that the broker is away; nowhere when None.

    Attributes:
        address: host and port of the broker, once there is one.
        connected: set while there is a connection and the broker knows that the daemon is there.
        since: since when it is so, or is not; RFC 3339.
        problem: why there is no connection, or what went wrong last on the one there is.
    """

    def __init__(self, twin: Twin, alarms: Alarms | None = None) -> None:
        self.twin = twin
        self.address: tuple[str, int] | None = None
        self.connected = asyncio.Event()
        self.since = clock.stamp()
        self.problem: str | None = None
        self._alarms = alarms
        self._reached = False  # there is a connection, be it that the broker takes nothing
        self._fallen = asyncio.Event()

    def info(self) -> dict[str, Any]:
        """What `labd status` tells of it."""
        return {
            "broker": f"{self.address[0]}:{self.address[1]}" if self.address else None,
            "connected": self.connected.is_set(),
            "since": self.since,
            "problem": self.problem,
            "twin": self.twin.known,
        }

    async def keep(
        self, publisher: Publisher, will: Message, serve: Callable[[Session], Coroutine[Any, Any, None]]
    ) -> None:
        """Connects and serves for ever; what `serve` does not survive is the connection's loss.

        Args:
            publisher: makes the connections.
            will: the broker's last word for this daemon.
            serve: works until the connection is lost. Cancelled, it ends as cancelled, also where it fails just then.
        """
        backoff = Backoff()
        told = ""
        while True:
            lived_from, taken_over = None, False
            try:
                async with publisher.connect(will) as session:
                    lived_from = clock.monotonic()
                    log.info("broker connected", broker=self.address)
                    told, self.problem, self._reached = "", None, True
                    await serve(session)
            except* ConnectionLost as lost:
                taken_over = lost.subgroup(TakenOver) is not None
                self.problem = str(first(lost))
                if self.problem != told:  # once when it is lost, not at every try
                    log.warning("broker lost", problem=self.problem)
                    told = self.problem
            self._reached = False
            if taken_over:
                self.twin.suspect()
            # The broker's side of it lives on the machine's clock.
            lived = (clock.monotonic() - lived_from) / clock.of_machine(1.0) if lived_from is not None else 0.0
            waits = self.twin.backoff if taken_over or self.twin.known else backoff
            await asyncio.sleep(clock.of_machine(waits.ended(lived)))

    def stands(self) -> None:
        """The broker knows that the daemon is there."""
        self.since = clock.stamp()
        self._fallen.clear()
        self.connected.set()
        self.twin.stood()

    def falls(self) -> None:
        """There is no connection any more. Harmless when there was none."""
        if self.connected.is_set():
            self.since = clock.stamp()
        self.connected.clear()
        self._fallen.set()
        self.twin.stirred.set()

    async def watch(self) -> None:
        """Says, as an alarm, when there was no connection that stays for a minute, until cancelled."""
        while True:
            await self._until_it_stays()
            if self._alarms is not None:
                self._alarms.end(AWAY_ALARM)
            while self.connected.is_set():
                await self.twin.watch()

    async def _until_it_stays(self) -> None:
        """Waits for a good connection: to one that ends again and again nobody can listen."""
        until: float | None = clock.monotonic() + clock.of_machine(AWAY)
        while True:
            try:
                async with asyncio.timeout_at(until):
                    await self.connected.wait()
            except TimeoutError:
                until = None
                self._say_away()
                continue
            try:
                async with asyncio.timeout(clock.of_machine(STEADY)):
                    await self._fallen.wait()
            except TimeoutError:
                return

    def _say_away(self) -> None:
        where = f"{self.address[0]}:{self.address[1]}" if self.address else "that lab.yaml names"
        what = "this lab is not told of at the MQTT broker" if self._reached else "no connection to the MQTT broker"
        text = f"{what} {where}: {self.problem or 'it does not answer'}"
        if self._alarms is not None:
            said = f"{text}. Runs go on; their events wait in the journal"
            self._alarms.tell(AWAY_ALARM, "warning", "lab", said)


def first(lost: BaseExceptionGroup[ConnectionLost]) -> BaseException:
    """The first of what was lost; one that tells of another connection goes before."""
    found: BaseException = lost.subgroup(TakenOver) or lost
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
