"""States that the broker refuses: who is told, and when they are tried again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import structlog

from labd import clock
from labd.lab.alarms import Alarms
from labd.telemetry.outgoing import Retained
from labd.telemetry.publisher import Backoff, Message, PublishRefused
from labd.telemetry.unsendable import NEVER, REFUSED

log = structlog.get_logger(__name__)


class Refusals:
    """What of a lab's states the broker does not take.

    What may pass one day (a right) is tried again, until it does. What can never pass (too large for the broker) is
    told once, and waits until it changes or another connection comes.

    Args:
        status: the daemon's own topic. Where it is refused, nobody sees that the lab is there.
        retained: what the broker should hold.
        alarms: where that is told.
        tell_status: has it told with the other states.
    """

    def __init__(self, status: str, retained: Retained, alarms: Alarms, tell_status: Callable[[], None]) -> None:
        self._status = status
        self._retained = retained
        self._tell_status = tell_status
        self._alarms = alarms
        self._refused: dict[str, PublishRefused] = {}
        self._told = False  # on this connection
        self._never: dict[str, Message] = {}  # what cannot pass, and was told
        self._alarmed = False
        self._again = asyncio.Event()

    @property
    def unseen(self) -> bool:
        """Whether the broker does not take that the daemon is there."""
        return self._status in self._refused

    @property
    def problem(self) -> str | None:
        """What `labd status` says of it."""
        if not self._refused:
            return None
        first = self._refused.get(self._status) or next(iter(self._refused.values()))
        return f"{len(self._refused)} of {self._retained.known + 1} states refused: {first}"

    def connected(self) -> None:
        """A new connection: everything is told anew."""
        self._refused.clear()
        self._again.clear()
        self._told = False

    def taken(self, message: Message) -> None:
        """The broker has it."""
        self._retained.told(message)
        self._refused.pop(message.topic, None)
        self._never.pop(message.topic, None)
        if message.topic == self._status and self._alarmed:
            self._alarmed = False
            self._alarms.end(REFUSED)

    def met(self, message: Message, refused: PublishRefused) -> None:
        """The broker has refused it."""
        self._refused[message.topic] = refused
        if refused.reason in NEVER:
            if self._never.get(message.topic) != message:
                log.warning("state refused until it changes", topic=refused.topic, reason=refused.reason)
            self._never[message.topic] = message
            return
        self._retained.refused(message)
        self._again.set()
        if message.topic == self._status:
            self._alarmed = True
            text = (
                f"the MQTT broker refuses {refused.topic}: {refused.reason}; nobody sees there that this lab is at "
                "work. Give labd's user the right to publish below it: the ACL is of another lab, or labd logs in "
                "under another name"
            )
            self._alarms.tell(REFUSED, "problem", "lab", text)

    def tell(self) -> None:
        """One line in the log for all that is refused on a connection, and not one for each."""
        problem = self.problem
        if problem is not None and not self._told and any(one.reason not in NEVER for one in self._refused.values()):
            self._told = True
            log.warning("states refused; they are tried again", problem=problem)

    async def try_again(self) -> None:
        """Puts what was refused where the sender finds it, again and again, until cancelled."""
        backoff, tried = Backoff(), -math.inf
        while True:
            await self._again.wait()
            quiet = (clock.monotonic() - tried) / clock.of_machine(1.0)
            await asyncio.sleep(clock.of_machine(backoff.ended(quiet)))
            tried = clock.monotonic()
            self._again.clear()
            self._retained.try_again()
            if self.unseen:
                self._tell_status()
