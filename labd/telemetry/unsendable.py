"""Events that the broker does not take: which wait, which are shortened, which are left out; and who is told.

What may pass one day (a right, a quota) waits, and all behind it: order goes before speed. What can never pass (too
large for the broker) is sent without its data, so that it holds up nobody; the data stand in the journal.

Some brokers say of what is too large for them no word but the end of the connection. That is believed of an event only
after a trial: it is sent alone, on a connection that stood before for longer than those that ended lived in all. A link
that flaps, a broker that is silent, and another client under the same name end connections as well.
"""

from __future__ import annotations

import structlog

from labd import clock
from labd.journal.waiting import Written
from labd.lab.alarms import Alarms
from labd.lab.sizes import size_text
from labd.telemetry.flight import Sent
from labd.telemetry.payloads import RunEvent
from labd.telemetry.publisher import ConnectionLost, PublishRefused, TakenOver, Unanswered

log = structlog.get_logger(__name__)

NEVER = ("Packet too large", "Payload format invalid", "Topic name invalid")
"""MQTT 5's reasons of a refusal that another try cannot change."""

REFUSED, LARGE = "mqtt-refused", "mqtt-large"
"""Alarms: the broker refuses events, and they wait; events were sent without their data."""

FRAME = 16  # bytes of a packet beside topic and payload, at most
SUSPECT = 1_000  # bytes; every broker takes less, and without its data an event has some hundred
ALONE = 3  # connections in a row that end with the same larger event as the oldest under way: it is suspected
ENDS = 5  # and so many, the last ones in a trial: that is why
LONGEST = 30.0  # s of the machine; that a connection is looked at before a trial
SILENT = 3  # connections in a row on which the broker acknowledges nothing: a person should know


class Unsendable:
    """What is known of events that the broker does not take."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._largest: int | None = None  # bytes of a packet, as far as known of this connection
        self._short: set[int] = set()  # seqs to be sent without their data, or not at all
        self._skipped: set[int] = set()
        self._head: Sent | None = None  # the oldest under way when it went wrong last
        self._error: BaseException | None = None  # and what went wrong with it
        self._ends = 0
        self._silent = 0
        self._since = 0.0  # since when there is this connection
        self._lived = 0.0  # s; the longest life of those that ended with this head
        self._looking = self._tried = False  # it is looked at, or was for long enough
        self._refused = 0  # the seq that the alarm is about

    def connected(self, largest: int | None) -> None:
        """A new connection, whose broker takes packets of so many bytes; None: it has said no limit.

        Its broker has acknowledged something: the daemon's birth.
        """
        self._largest = largest
        self._since = clock.monotonic()
        if self._looking:  # the last one ended before the event was sent
            self._ends, self._lived = 0, 0.0
        self._looking, self._tried = self.alone, False

    @property
    def alone(self) -> bool:
        """Whether the oldest event is to be sent alone: it may be why connections end."""
        return self._ends >= ALONE

    @property
    def look(self) -> float:
        """How many s this connection is to be looked at before anything is sent."""
        return min(2 * self._lived + clock.of_machine(1.0), clock.of_machine(LONGEST)) if self._looking else 0.0

    def looked(self) -> None:
        """The connection has stood for so long."""
        self._tried, self._looking = self._looking, False

    def taken(self, seq: int) -> None:
        """The broker has all up to this one."""
        if self._refused and seq >= self._refused:
            self._refused = 0
            self._alarms.end(REFUSED)
        if self._short:
            self._short = {one for one in self._short if one > seq}
            self._skipped = {one for one in self._skipped if one > seq}
        if self._head is not None and seq >= self._head.event.seq:
            self._ends = self._silent = 0
            self._lived = 0.0

    def met(self, error: BaseException, oldest: Sent | None) -> None:
        """Sending ended while this was the oldest under way: with its own error, where it has one."""
        if oldest is None or self._head is None or oldest.event.seq != self._head.event.seq:
            self._ends = self._silent = 0
            self._lived = 0.0
        self._head, self._error = oldest, error
        if oldest is None or not isinstance(error, ConnectionLost):
            return
        if isinstance(error, Unanswered):
            self._silent += 1
            if self._silent >= SILENT:
                self._refused = oldest.event.seq
                text = (
                    f"the MQTT broker has acknowledged nothing on {self._silent} connections in a row: event "
                    f"{oldest.number} of {oldest.event.run} waits, and those behind it. See the broker's log, or "
                    f"start it anew"
                )
                self._alarms.tell(REFUSED, "problem", "lab", text)
        elif not isinstance(error, TakenOver) and oldest.size > SUSPECT:
            self._ended(oldest)

    def _ended(self, oldest: Sent) -> None:
        """The broker has closed the connection, perhaps for this one."""
        if self.alone and not self._tried:
            return
        self._ends += 1
        self._lived = max(self._lived, clock.monotonic() - self._since)
        if self._ends >= ENDS:
            self._short.add(oldest.event.seq)

    def settled(self, refused: PublishRefused) -> bool:
        """Whether the refused event will not be sent like that again; else it waits, and a person is told."""
        oldest = self._head
        if oldest is None or self._error is not refused:  # of another one: nothing is known of the oldest
            return False
        seq, run = oldest.event.seq, oldest.event.run
        if refused.reason not in NEVER:
            if self._refused != seq:
                log.warning("event refused; it is kept and tried again", topic=refused.topic, reason=refused.reason)
            self._refused = seq
            text = (
                f"the MQTT broker refuses event {oldest.number} of {run}: {refused.reason}; it waits, and those behind "
                f"it. Give labd's user the right to publish to {refused.topic}, or see the broker's log"
            )
            self._alarms.tell(REFUSED, "problem", "lab", text)
            return False
        if seq in self._short:
            self._skipped.add(seq)
        elif refused.reason == NEVER[0]:
            known = oldest.size if self._largest is None else min(self._largest, oldest.size)
            self._largest = known + FRAME - 1
        self._short.add(seq)
        return True

    def skips(self, event: Written, count: int) -> bool:
        """Whether an event is left out, since the broker does not take it without its data either."""
        if event.seq not in self._skipped:
            return False
        self._tell(
            f"event {count} of {event.run} is not sent over MQTT: the broker takes it in no form; {_where(event)}. "
            f"Acknowledge this once who needs it has it"
        )
        return True

    def needs_less(self, event: Written, topic: str, payload: bytes) -> bool:
        """Whether an event is to be sent without its data."""
        if event.seq in self._short:
            return True
        return self._largest is not None and len(payload) + len(topic.encode()) + FRAME > self._largest

    def shortened(self, event: Written, count: int, size: int) -> bytes:
        """The event without its data, and told."""
        why = f"{size_text(size)} are more than the broker takes"
        self._tell(
            f"event {count} of {event.run} was sent over MQTT without its data: {why}; {_where(event)}. "
            f"Raise the broker's limit (mosquitto: max_packet_size, message_size_limit), then acknowledge this"
        )
        text = f"{why}; {_where(event)}"
        return RunEvent(seq=count, at=event.at, kind=event.kind, data={}, hash=event.hash, omitted=text).encode()

    def _tell(self, text: str) -> None:
        self._alarms.tell(LARGE, "warning", "lab", text)


def _where(event: Written) -> str:
    return f"the whole is at /api/v1/runs/{event.run}/events?after={event.seq - 1}&limit=1"
