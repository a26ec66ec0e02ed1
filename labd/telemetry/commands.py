"""Commands over MQTT: taken once, answered always, and nothing answered that is not durable.

What was answered to which command is kept in the journal: a command that is sent again, also after a restart, is
answered as it was the first time, and not done again. Stop and abort do not wait for the disk; their answers do.

A flood of commands is bounded at every place where it could gather: what is too much is rejected, unremembered, so
that it may be sent again; hold, stop and abort are counted by themselves and do not stand behind others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from pydantic import ValidationError

from labd import clock
from labd.journal import Journal, JournalError, NewEvent
from labd.lab.access import Role
from labd.run.engine import Engine
from labd.run.lifecycle import Command
from labd.telemetry import limits, payloads
from labd.telemetry.known import AHEAD, Known, Memory
from labd.telemetry.limits import URGENT, Bucket, Hand, id_in, no_number
from labd.telemetry.publisher import Incoming, Session, brief
from labd.telemetry.replies import Replies
from labd.telemetry.topics import TopicError, Topics
from labd.telemetry.users import denied
from labd.telemetry.verbs import REFUSALS, VERBS, FailedError, Given, Over, Result, Taken, held_or_ended

log = structlog.get_logger(__name__)

LOST = "the daemon ended while it was carried out: look how the lab is, and send it anew under another command_id"
ANEW = "the daemon was started anew after it was accepted, and its end is not known: look how the lab is"
UNWATCHED = "it has its order, but so many commands wait for their ends that this one's is not told: look at the lab"
REASON = 4_000  # characters


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of a message while its command is carried out: all but the payload, which may be large."""

    user: str
    verb: str
    retained: bool
    answer_to: str | None
    correlation: bytes | None


class Commands:
    """Hears commands and answers them. `run()` is its task; a session brings messages to `hear` and takes answers.

    Args:
        users: who may do what; None: everybody everything.
    """

    def __init__(self, topics: Topics, engine: Engine, users: Mapping[str, Role] | None = None) -> None:
        self._topics = topics
        self._engine = engine
        self._users = users
        self._journal: Journal = engine.journal
        self._memory = Memory(engine.journal)
        self._hand = Hand()
        self._ends = 0  # that are waited for
        self._refusals = Bucket(1000, 10)  # that are journaled
        self._lines = Bucket(20, 0.2)  # of the log
        self._unlogged = 0
        self._replies = Replies(topics)
        self._group: asyncio.TaskGroup | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Remembers what was answered in earlier lives, and carries out what is heard, until cancelled."""
        left = await self._memory.read()
        async with asyncio.TaskGroup() as self._group:
            await asyncio.gather(*(self._take_up(self._group, known) for known in left))
            self.ready.set()
            await asyncio.Event().wait()

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def hear(self, incoming: Incoming) -> None:
        """Takes a message; it is carried out beside all others. Never waits and never raises."""
        if not incoming.payload or self._group is None:  # an empty one clears what was retained
            return
        try:
            user, verb = self._topics.commanded(incoming.topic)
        except TopicError as error:
            self._warn("no command", incoming.topic, brief(str(error)))
            return
        asked = Asked(user, verb, incoming.retained, incoming.answer_to, incoming.correlation)
        try:
            problem = _too_large(incoming)
            command = payloads.Command.model_validate_json(incoming.payload) if problem is None else None
        except ValidationError as error:
            problem, command = _told(error), None
        if command is None or no_number(command.arguments):
            self._refuse_unread(asked, incoming.payload, problem or "arguments: NaN and infinity are no numbers")
            return
        known = self._memory.get(user, command.command_id)
        if known is None:
            self._take(self._group, asked, command)
        for told in known.replies[: known.durable] if known is not None else ():
            self._send(payloads.Reply.model_validate(told), asked, droppable=True)

    def _take(self, group: asyncio.TaskGroup, asked: Asked, command: payloads.Command) -> None:
        """Has a command that is new carried out, or refused."""
        full = self._full(asked)
        problem = full or self._problem(command, asked)
        if problem is None:
            self._hand.take(asked.user, asked.verb)
            known = self._memory.add(asked.user, command.command_id)
            if asked.answer_to and self._replies.allowed(asked.answer_to, asked.user):
                known.answer_to, known.correlation = asked.answer_to, (asked.correlation or b"").hex()
            group.create_task(self._carry_out(known, asked, command.arguments), name=f"mqtt {asked.verb}")
        elif full or not self._refusals.take():
            self._warn("command refused", self._topics.command(asked.user, asked.verb), problem)
            reply = payloads.Reply(command_id=command.command_id, state="rejected", reason=problem)
            self._send(reply, asked, droppable=True)
        else:
            known = self._memory.add(asked.user, command.command_id)
            group.create_task(self._reply(known, asked, "rejected", problem), name=f"mqtt {asked.verb}")

    def _refuse_unread(self, asked: Asked, payload: bytes, reason: str) -> None:
        """Answers what cannot be understood, as far as it says to whom."""
        self._warn("command not understood", self._topics.command(asked.user, asked.verb), reason)
        command_id = id_in(payload)
        if command_id is not None:
            reply = payloads.Reply(command_id=command_id, state="rejected", reason=reason)
            self._send(reply, asked, droppable=True)

    def _warn(self, event: str, topic: str, problem: str) -> None:
        """A line in the log; not one for each of a flood."""
        if self._lines.take():
            more = {"unlogged": self._unlogged} if self._unlogged else {}
            log.warning(event, topic=brief(topic), problem=problem, **more)
            self._unlogged = 0
        else:
            self._unlogged += 1

    def _full(self, asked: Asked) -> str | None:
        """Why there is no room for another one now, or None."""
        if asked.verb not in URGENT:
            if len(self._replies) >= limits.MOST_ANSWERS:
                return f"{len(self._replies)} answers wait for the broker to take them; give it again later"
            if self._ends >= limits.ENDS:
                return f"{self._ends} commands wait for their ends; give it again later"
            if self._memory.full:
                return "too many commands in half a minute; wait, and give it again"
        return self._hand.full(asked.user, asked.verb)

    def _problem(self, command: payloads.Command, asked: Asked) -> str | None:
        """Why it is not even tried, or None."""
        verb = asked.verb
        if asked.retained:
            return "it is retained: a command is for now, publish it without the retain flag"
        if command.verb != verb:
            return f"the topic says {verb}, the payload {command.verb}"
        if verb not in VERBS:
            return f"labd does not take {verb} over MQTT yet"
        if (no := denied(self._users, asked.user, verb, command.arguments)) is not None:
            return no
        if verb in ("start", "submit", "cancel") and not self._engine.ready.is_set():
            return "the daemon is starting; give it again"
        return _out_of_time(command)

    # ── doing ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _carry_out(self, known: Known, asked: Asked, arguments: Mapping[str, Any]) -> None:
        try:
            taken = await self._begin(known, asked, arguments)
        finally:
            self._hand.give_back(asked.user, asked.verb)
        if taken is not None:
            await self._tell_end(known, asked, taken)

    async def _tell_end(self, known: Known, asked: Asked, taken: Taken) -> None:
        """Waits for the end of a command and answers with it."""
        if self._ends >= limits.ENDS:
            await self._reply(known, asked, "failed", UNWATCHED)
            return
        self._ends += 1
        try:
            result = await taken()
        except FailedError as error:
            await self._reply(known, asked, "failed", str(error), error.result)
        except JournalError:
            raise
        except Exception as error:
            log.exception("command failed", command_id=known.command_id)
            await self._reply(known, asked, "failed", f"labd failed: {error!r}; its log says where")
        else:
            await self._reply(known, asked, "done", None, result)
        finally:
            self._ends -= 1

    async def _begin(self, known: Known, asked: Asked, given: Mapping[str, Any]) -> Taken | None:
        """Takes a command up and answers `accepted`, or `rejected`; then it is None."""
        assert self._group is not None
        model, begin = VERBS[asked.verb]
        try:
            arguments = model.model_validate(given)
        except ValidationError as error:
            await self._reply(known, asked, "rejected", f"arguments: {_told(error)}")
            return None
        run = getattr(arguments, "run", None)
        if asked.verb in URGENT and run is not None:
            known.waits = asked.verb, run
        # Queued before anything is done: what is done is never durable without it. Nothing waits for that here.
        self._memory.keep(known)
        self._journal.post(self._event("command.taken", known, verb=asked.verb, arguments=_brief(given)))
        accepted = _reply(known, "accepted")
        tell = partial(self._answer_with_next, known, asked, accepted)
        try:
            taken = await begin(Given(self._engine, self._group, known.user, asked.verb, tell), arguments)
        except REFUSALS as error:
            await self._reply(known, asked, "rejected", str(error))
            return None
        except JournalError:
            raise
        except Exception as error:
            log.exception("command failed", command_id=known.command_id)
            state = "failed" if known.replies else "rejected"
            await self._reply(known, asked, state, f"labd failed: {error!r}; its log says where")
            return None
        told = [] if known.replies else [accepted]  # else it was durable, and told, with what was done
        if isinstance(taken, Over):
            told.append(_reply(known, "done", None, taken.result))
        await self._answer(known, asked, *told)
        return None if isinstance(taken, Over) else taken

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────
    async def _reply(
        self,
        known: Known,
        asked: Asked,
        state: str,
        reason: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        await self._answer(known, asked, _reply(known, state, reason, result))

    async def _take_up(self, group: asyncio.TaskGroup, known: Known) -> None:
        """For a command whose end an earlier life of the daemon has not told any more: waits for it, or says so."""
        correlation = bytes.fromhex(known.correlation) if known.correlation else None
        asked = Asked(known.user, "", retained=False, answer_to=known.answer_to, correlation=correlation)
        if known.replies and known.waits is not None:
            group.create_task(self._tell_end(known, asked, partial(self._ended, *known.waits)), name="mqtt command")
        else:
            await self._reply(known, asked, "failed", ANEW if known.replies else LOST)

    async def _ended(self, verb: str, run: str) -> Result:
        await self._engine.ready.wait()
        return await held_or_ended(self._engine, run, Command(verb))

    async def _answer(self, known: Known, asked: Asked, *replies: payloads.Reply) -> None:
        """Answers; the answers, and all that they speak of, are durable when this returns."""
        if replies:
            told = self._keep(known, asked, *replies)
            await self._journal.append(*(self._answered(known, reply) for reply in replies), then=told)

    def _answer_with_next(self, known: Known, asked: Asked, reply: payloads.Reply) -> None:
        """Answers with whatever is durable next."""
        self._journal.post(self._answered(known, reply), self._keep(known, asked, reply))

    def _keep(self, known: Known, asked: Asked, *replies: payloads.Reply) -> Callable[[], None]:
        """Keeps answers; what is given sends them. It is to be called in the moment in which they are durable.

        So an answer goes before all else that is told of the same commit, and before the next one is written.
        """
        known.replies = [*known.replies, *(reply.model_dump(mode="json") for reply in replies)]
        durable = len(known.replies)
        self._memory.keep(known)

        def tell() -> None:
            known.durable = durable
            for reply in replies:
                self._send(reply, asked)
            self._replies.leave()

        return tell

    def _answered(self, known: Known, reply: payloads.Reply) -> NewEvent:
        return self._event("command.answered", known, state=reply.state, reason=reply.reason)

    def _event(self, kind: str, known: Known, **more: Any) -> NewEvent:
        return NewEvent(kind, {"command_id": known.command_id, "by": known.user, "over": "mqtt", **more})

    def _send(self, reply: payloads.Reply, asked: Asked, *, droppable: bool = False) -> None:
        """Puts an answer where `send` finds it; one that its sender can ask for again only where there is room."""
        if droppable and len(self._replies) >= limits.ANSWERS:
            self._unlogged += 1
            return
        self._replies.put(reply, asked.user, asked.answer_to, asked.correlation)

    async def send(self, session: Session) -> None:
        """Sends answers as they come; those of an outage follow it. Raises ConnectionLost."""
        await self._replies.send(session)

    async def drain(self, session: Session) -> None:
        """Sends the answers that wait. Raises ConnectionLost."""
        await self._replies.drain(session)


def _reply(
    known: Known, state: str, reason: str | None = None, result: Mapping[str, Any] | None = None
) -> payloads.Reply:
    short = reason[:REASON] if reason is not None else None
    told = {"command_id": known.command_id, "state": state, "reason": short, "result": result}
    return payloads.Reply.model_validate(told)


def _too_large(incoming: Incoming) -> str | None:
    if len(incoming.payload) > limits.LARGEST:
        return f"it has {len(incoming.payload)} bytes; a command has {limits.LARGEST} at most"
    if max(len(incoming.answer_to or ""), len(incoming.correlation or b"")) > limits.LONGEST:
        return f"response topic and correlation data have {limits.LONGEST} bytes at most"
    return None


def _told(error: ValidationError) -> str:
    """What is wrong with a payload, in one line."""
    flaws = error.errors(include_url=False, include_input=False)
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ")[:500] for one in flaws[:5]]
    return "; ".join([*told, *([f"and {len(flaws) - 5} more"] if len(flaws) > 5 else [])])


def _out_of_time(command: payloads.Command) -> str | None:
    now = clock.outside()
    if command.expires_at <= now:
        late = (now - command.expires_at).total_seconds()
        return f"it expired {late:.1f} s ago; give it anew if it is still meant, or set your clock if you just gave it"
    if command.issued_at > now + AHEAD:
        return f"it was issued {(command.issued_at - now).total_seconds():.1f} s from now: set your clock"
    return None


def _brief(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the journal, without protocols and tables: `run.started` and `batch.submitted` have those."""
    return {name: value for name, value in arguments.items() if name not in ("protocol", "called", "rows")}
