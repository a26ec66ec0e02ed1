"""Commands that were seen, and what was answered to them: kept in the journal, so that none is done twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from labd import clock
from labd.journal import Journal
from labd.telemetry.payloads import COMMAND_LIFE

KEPT = "command/"
KEPT_FOR = timedelta(hours=24)
MOST_KEPT = 20_000
AHEAD = timedelta(seconds=5)  # so far a sender's clock may be before ours
DANGEROUS = COMMAND_LIFE + 2 * AHEAD  # so long after its receipt a command that is forgotten could be done again


@dataclass(slots=True)
class Known:
    """A command that was seen, when, by the machine's clock, and what was answered to it so far.

    Args:
        answer_to, correlation: where it is answered besides, and with what (hexadecimal); kept until its end.
        waits: the verb, and the run whose state is waited for to tell the end of it; kept until then.
        durable: so many of the answers are, and may be told.
    """

    user: str
    command_id: str
    at: str
    replies: list[dict[str, Any]] = field(default_factory=list)
    answer_to: str | None = None
    correlation: str | None = None
    waits: tuple[str, str] | None = None
    durable: int = 0

    @property
    def name(self) -> str:
        return f"{KEPT}{self.user}/{self.command_id}"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be answered."""
        return bool(self.replies) and self.replies[-1]["state"] != "accepted"

    def kept(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "user": self.user,
            "command_id": self.command_id,
            "at": self.at,
            "replies": self.replies,
        }
        if not self.ended and self.answer_to is not None:
            told |= {"answer_to": self.answer_to, "correlation": self.correlation}
        if not self.ended and self.waits is not None:
            told["waits"] = self.waits
        return told

    def older_than(self, age: timedelta) -> bool:
        return datetime.fromisoformat(self.at) < clock.outside() - age


class Memory:
    """The commands of a day, MOST_KEPT at most; none is forgotten while it could still be done again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[str, Known] = {}

    async def read(self) -> list[Known]:
        """Remembers earlier lives of the daemon; gives those whose end they did not live to tell."""
        stored = (await self._journal.kept(KEPT)).values()
        kept = [Known(**value, durable=len(value["replies"])) for value in stored]
        self._known = {known.name: known for known in sorted(kept, key=lambda one: one.at)}
        return [known for known in self._known.values() if not known.ended]

    def get(self, user: str, command_id: str) -> Known | None:
        return self._known.get(f"{KEPT}{user}/{command_id}")

    def add(self, user: str, command_id: str) -> Known:
        """Remembers one, and forgets what is a day old, or too many."""
        known = Known(user, command_id, clock.stamp(clock.outside()))
        self._known[known.name] = known
        while (oldest := next(iter(self._known.values()))) is not known:
            if len(self._known) <= MOST_KEPT and not oldest.older_than(KEPT_FOR):
                break
            self.forget(oldest)
        return known

    def forget(self, known: Known) -> None:
        del self._known[known.name]
        self._journal.keep(known.name, None)

    def keep(self, known: Known) -> None:
        """Keeps what was answered so far; durable with the next commit."""
        self._journal.keep(known.name, known.kept())

    @property
    def full(self) -> bool:
        """Whether the next one would push out another that could still be done again."""
        return len(self._known) >= MOST_KEPT and not next(iter(self._known.values())).older_than(DANGEROUS)
