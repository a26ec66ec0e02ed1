"""What stands at the broker under a lab's topics and nobody owns any more: found, and taken away.

A run that was cleared while the daemon was off, an alarm that ended then, a device that is no more in lab.yaml: the
broker keeps what it was told last for ever. What it holds is learnt in two ways, and neither waits for the other:
the broker sends what stands there when it is asked for it, at each connection; and the journal keeps the topics that
were told and are not known to be cleared, for a broker whose rules do not let the daemon read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection

import structlog

from labd import clock
from labd.journal import Journal, JournalError
from labd.telemetry.outgoing import Retained
from labd.telemetry.publisher import Incoming
from labd.telemetry.topics import Topics
from labd.telemetry.twin import told_of

log = structlog.get_logger(__name__)

KEPT = "retained/"
OF_LAB = re.compile(r"(?:labd/1/|homeassistant/[^/]+/labd-)([a-z0-9_-]{1,64})/")
"""How a topic begins that is a lab's own, with its name."""


class Sweep:
    """Takes away what nobody owns, once it is `settled` what is owned.

    Args:
        topics: of the lab: nothing of another is touched.
        retained: what the broker should hold.
        journal: remembers the topics.
    """

    def __init__(self, topics: Topics, retained: Retained, journal: Journal) -> None:
        self._topics = topics
        self._retained = retained
        self._journal = journal
        self._found: dict[str, None] = {}  # what waits until it is known what is owned
        self._former: dict[str, list[str]] = {}  # what was told under a former name of the lab, by its status topic
        self._lives: Collection[str] = ()
        self._settled = False
        retained.on_first = self._remember
        retained.on_gone = self._forget

    @property
    def patterns(self) -> tuple[str, ...]:
        """What is to be listened to for what stands there."""
        return (*self._topics.standing, *self._former)

    async def take_up(self, lives: Collection[str]) -> None:
        """Remembers what earlier lives of the daemon have told.

        Args:
            lives: their boot_ids. What stands under a former name of the lab is taken away only where its `status` is
                of one of them: another lab may have the name now.
        """
        self._lives = lives
        for name in await self._journal.kept(KEPT):
            topic = name.removeprefix(KEPT)
            of_lab = OF_LAB.match(topic)
            if of_lab is None or of_lab[1] == self._topics.lab:
                self._found[topic] = None
            else:
                self._former.setdefault(Topics(of_lab[1]).status, []).append(topic)

    def settle(self) -> None:
        """All that the lab owns has been told by now: what else was found, and will be, is taken away."""
        self._settled = True
        found, self._found = self._found, {}
        for topic in found:
            self._clear(topic)

    def hear(self, incoming: Incoming) -> None:
        """Takes a message that may be of something that stands at the broker."""
        if not incoming.retained or not incoming.payload:
            return
        if incoming.topic in self._former:
            self._end_former(incoming)
        elif self._topics.stands(incoming.topic):
            if self._settled:
                self._clear(incoming.topic)
            else:
                self._found[incoming.topic] = None

    def _clear(self, topic: str) -> None:
        if topic not in self._retained:
            log.info("nobody owns what stands at the broker: cleared", topic=topic)
            self._retained.clear(topic)

    def _end_former(self, incoming: Incoming) -> None:
        told = self._former.pop(incoming.topic)
        if told_of(incoming.payload)[1] in self._lives:
            log.info("what was told under the lab's former name is cleared", topic=incoming.topic, others=len(told))
            for topic in (*told, incoming.topic):
                self._retained.clear(topic)
        else:
            log.info("another lab has this one's former name: it is left alone", topic=incoming.topic)
            for topic in told:
                self._forget(topic)

    def _remember(self, topic: str) -> None:
        with contextlib.suppress(JournalError):  # who tells something is not to fail by it; the daemon ends anyway
            self._journal.keep(f"{KEPT}{topic}", {"at": clock.stamp()})

    def _forget(self, topic: str) -> None:
        with contextlib.suppress(JournalError):
            self._journal.keep(f"{KEPT}{topic}", None)
