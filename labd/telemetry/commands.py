"""Commands over MQTT: taken once, answered always, and nothing answered that is not durable.

What was answered to which command is kept in the journal: a command that is sent again, also after a restart, is
answered as it was the first time, and not done again. Stop and abort do not wait for the disk; their answers do.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import ValidationError

from labd import clock
from labd.journal import Journal, JournalError, NewEvent
from labd.run.engine import Engine
from labd.telemetry import payloads
from labd.telemetry.publisher import Incoming, Message, PublishRefused, Session
from labd.telemetry.topics import ID, TopicError, Topics
from labd.telemetry.verbs import REFUSALS, VERBS, FailedError, Taken

log = structlog.get_logger(__name__)

KEPT = "command/"
KEPT_FOR = timedelta(hours=24)
MOST_KEPT = 10_000
AHEAD = timedelta(seconds=5)  # so far a sender's clock may be before ours
LOST = "the daemon ended while it was carried out: look how the lab is, and send it anew under another command_id"
CLOSED = ("labd/", "homeassistant/", "$")
"""Nobody has an answer sent there: others take what stands there for the daemon's word, or for a command."""


@dataclass(slots=True)
class _Known:
    """A command that was seen, and what was answered to it so far."""

    user: str
    command_id: str
    at: str
    replies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{KEPT}{self.user}/{self.command_id}"

    def kept(self) -> dict[str, Any]:
        return {"user": self.user, "command_id": self.command_id, "at": self.at, "replies": self.replies}


class Commands:
    """Hears commands and answers them. `run()` is its task; a session brings messages to `hear` and takes answers."""

    def __init__(self, topics: Topics, engine: Engine) -> None:
        self._topics = topics
        self._engine = engine
        self._journal: Journal = engine.journal
        self._known: dict[str, _Known] = {}
        self._replies: deque[Message] = deque()
        self._filled = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Remembers what was answered in earlier lives, and carries out what is heard, until cancelled."""
        kept = [_Known(**value) for value in (await self._journal.kept(KEPT)).values()]
        for known in sorted(kept, key=lambda one: one.at):
            self._known[known.name] = known
            if not known.replies:
                await self._answer(known, payloads.Reply(command_id=known.command_id, state="failed", reason=LOST))
        async with asyncio.TaskGroup() as self._group:
            self.ready.set()
            await asyncio.Event().wait()

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def hear(self, incoming: Incoming) -> None:
        """Takes a message; it is carried out beside all others. Never waits and never raises."""
        if incoming.payload and self._group is not None:  # an empty one clears what was retained
            self._group.create_task(self._hear(incoming), name=f"mqtt {incoming.topic}")

    async def _hear(self, incoming: Incoming) -> None:
        try:
            user, verb = self._topics.commanded(incoming.topic)
        except TopicError as error:
            log.warning("no command", topic=incoming.topic, problem=str(error))
            return
        try:
            command = payloads.Command.model_validate_json(incoming.payload)
        except ValidationError as error:
            self._refuse_unread(user, incoming, error)
            return
        known = self._known.get(f"{KEPT}{user}/{command.command_id}")
        if known is not None:
            for told in known.replies:
                self._send(user, payloads.Reply.model_validate(told), incoming)
            return
        known = _Known(user, command.command_id, clock.stamp())
        self._known[known.name] = known
        self._forget_old()
        problem = self._problem(command, verb, incoming)
        if problem is not None:
            await self._reply(known, incoming, "rejected", problem)
        else:
            await self._carry_out(known, command, incoming)

    def _refuse_unread(self, user: str, incoming: Incoming, error: ValidationError) -> None:
        """Answers what cannot be understood, as far as it says to whom."""
        reason = _told(error)
        log.warning("command not understood", topic=incoming.topic, problem=reason)
        try:
            command_id = json.loads(incoming.payload)["command_id"]
        except (ValueError, TypeError, KeyError):
            return
        if isinstance(command_id, str) and ID.fullmatch(command_id):
            self._send(user, payloads.Reply(command_id=command_id, state="rejected", reason=reason), incoming)

    def _problem(self, command: payloads.Command, verb: str, incoming: Incoming) -> str | None:
        """Why it is not even tried, or None."""
        if incoming.retained:
            return "it is retained: a command is for now, publish it without the retain flag"
        if command.verb != verb:
            return f"the topic says {verb}, the payload {command.verb}"
        if verb not in VERBS:
            return f"labd does not take {verb} over MQTT yet"
        if command.verb in ("start", "submit", "cancel") and not self._engine.ready.is_set():
            return "the daemon is starting; give it again"
        return _out_of_time(command)

    # ── doing ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _carry_out(self, known: _Known, command: payloads.Command, incoming: Incoming) -> None:
        # Queued before anything is done: what is done is never durable without it. Nothing waits for that here.
        self._journal.keep(known.name, known.kept())
        self._journal.post(self._event("command.taken", known, verb=command.verb, arguments=_brief(command.arguments)))
        try:
            arguments, begin = VERBS[command.verb]
            assert self._group is not None
            taken: Taken = await begin(
                self._engine, self._group, known.user, command.verb, arguments.model_validate(command.arguments)
            )
        except ValidationError as error:
            await self._reply(known, incoming, "rejected", f"arguments: {_told(error)}")
            return
        except REFUSALS as error:
            await self._reply(known, incoming, "rejected", str(error))
            return
        except JournalError:
            raise
        except Exception as error:
            log.exception("command failed", command_id=known.command_id)
            await self._reply(known, incoming, "rejected", f"labd failed: {error!r}; its log says where")
            return
        await self._reply(known, incoming, "accepted")
        try:
            result = await taken()
        except FailedError as error:
            await self._reply(known, incoming, "failed", str(error), error.result)
        else:
            await self._reply(known, incoming, "done", None, result)

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────
    async def _reply(
        self,
        known: _Known,
        incoming: Incoming,
        state: str,
        reason: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        told = {"command_id": known.command_id, "state": state, "reason": reason, "result": result}
        reply = payloads.Reply.model_validate(told)
        await self._answer(known, reply)
        self._send(known.user, reply, incoming)

    async def _answer(self, known: _Known, reply: payloads.Reply) -> None:
        """Keeps an answer; it, and all that it speaks of, is durable when this returns."""
        known.replies = [*known.replies, reply.model_dump(mode="json")]
        self._journal.keep(known.name, known.kept())
        await self._journal.append(self._event("command.answered", known, state=reply.state, reason=reply.reason))

    def _event(self, kind: str, known: _Known, **more: Any) -> NewEvent:
        return NewEvent(kind, {"command_id": known.command_id, "by": known.user, "over": "mqtt", **more})

    def _send(self, user: str, reply: payloads.Reply, incoming: Incoming) -> None:
        own = self._topics.reply(user, reply.command_id)
        self._replies.append(Message(own, reply.encode(), qos=1, correlation=incoming.correlation))
        other = incoming.answer_to
        if other and other != own and not other.startswith(CLOSED) and not {"+", "#", "\0"} & set(other):
            self._replies.append(Message(other, reply.encode(), qos=1, correlation=incoming.correlation))
        self._filled.set()

    async def send(self, session: Session) -> None:
        """Sends answers as they come; those of an outage follow it. Raises ConnectionLost."""
        while True:
            await self.drain(session)
            self._filled.clear()
            await self._filled.wait()

    async def drain(self, session: Session) -> None:
        """Sends the answers that wait. Raises ConnectionLost."""
        while self._replies:
            try:
                await session.send(self._replies[0])
            except PublishRefused as refused:
                log.warning("answer refused", topic=refused.topic, reason=refused.reason)
            self._replies.popleft()

    def _forget_old(self) -> None:
        """What is a day old cannot be done again anyway: it has long expired."""
        oldest = clock.now() - KEPT_FOR
        for name, known in list(self._known.items()):
            if len(self._known) <= MOST_KEPT and datetime.fromisoformat(known.at) >= oldest:
                return
            del self._known[name]
            self._journal.keep(name, None)


def _told(error: ValidationError) -> str:
    """What is wrong with a payload, in one line."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in error.errors())


def _out_of_time(command: payloads.Command) -> str | None:
    now = clock.outside()
    if command.expires_at <= now:
        return f"it expired {(now - command.expires_at).total_seconds():.1f} s ago; give it anew if it is still meant"
    if command.issued_at > now + AHEAD:
        return f"it was issued {(command.issued_at - now).total_seconds():.1f} s from now: set your clock"
    return None


def _brief(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the journal, without protocols and tables: `run.started` and `batch.submitted` have those."""
    return {name: value for name, value in arguments.items() if name not in ("protocol", "called", "rows")}
