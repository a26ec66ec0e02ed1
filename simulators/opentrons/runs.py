"""Runs and their commands: queues, states, and who may do what when."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from simulators._kit.agenda import Agenda
from simulators.opentrons import commands as c
from simulators.opentrons.errors import CommandFailed, Refusal, action_not_allowed, run_stopped
from simulators.opentrons.hardware import DROP, HOME, MOVE, Robot
from simulators.opentrons.session import Plan, Session

ENDED = frozenset({"stopped", "failed", "succeeded"})


@dataclass
class Command:
    """One command of a run, as the server tells it. `done` is set when it has succeeded or failed."""

    id: str
    key: str
    type: str
    params: BaseModel
    intent: str
    created: str
    status: str = "queued"
    started: str | None = None
    completed: str | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self, *, whole: bool = True) -> dict[str, Any]:
        """It as JSON; lists tell it without its result."""
        params = self.params.model_dump(mode="json", by_alias=True, exclude_none=True)
        optional = {
            "startedAt": self.started,
            "completedAt": self.completed,
            "error": self.error,
            "result": self.result if whole else None,
        }
        told: dict[str, Any] = {
            "id": self.id,
            "createdAt": self.created,
            "commandType": self.type,
            "key": self.key,
            "status": self.status,
            "params": params,
            "intent": self.intent,
        }
        told |= {name: value for name, value in optional.items() if value is not None}
        return told | ({"notes": []} if self.completed else {})


@dataclass
class _Busy:
    command: Command
    plan: Plan
    start: float
    end: float


class Run:
    """One run, or maintenance run, on a robot.

    Args:
        robot, faults, agenda: whose they are.
        iso: turns the agenda's time into the server's time stamps; `epoch` into lab seconds since the epoch.
        door_blocks: whether an open door keeps it from playing.
        maintenance: it has no actions and never plays.
    """

    def __init__(
        self,
        robot: Robot,
        faults: MutableMapping[str, Any],
        agenda: Agenda,
        iso: Callable[[float], str],
        epoch: Callable[[float], float],
        *,
        door_blocks: bool,
        maintenance: bool = False,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.session = Session(robot, faults)
        self.commands: list[Command] = []
        self.actions: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.current = True
        self.maintenance = maintenance
        self._robot = robot
        self._faults = faults
        self._agenda = agenda
        self._iso = iso
        self._epoch = epoch
        self._door_blocks = door_blocks
        self.created = iso(agenda.now)
        self.started: str | None = None
        self.completed: str | None = None
        self._phase = "idle"  # idle, running, paused, stop-requested, finishing, or one of ENDED
        self._setup: deque[Command] = deque()
        self._protocol: deque[Command] = deque()
        self._busy: _Busy | None = None
        self._last_key = ""

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def status(self) -> str:
        """As the server names it."""
        if self._phase == "paused" and self._door_open():
            return "blocked-by-open-door"
        return self._phase

    @property
    def ended(self) -> bool:
        return self._phase in ENDED

    @property
    def may_go(self) -> bool:
        """Whether it can be replaced: nothing runs, nothing waits."""
        return self.ended or (self._phase == "idle" and self._busy is None and not self._setup and not self._protocol)

    def told(self) -> dict[str, Any]:
        """It as JSON."""
        told: dict[str, Any] = {"id": self.id}
        if not self.maintenance:
            told["ok"] = True
        told |= {
            "createdAt": self.created,
            "status": self.status,
            "current": self.current,
            "actions": self.actions,
            "errors": self.errors,
            "hasEverEnteredErrorRecovery": False,
            "pipettes": [
                {"id": one.id, "pipetteName": one.kind.name, "mount": one.mount}
                for one in self.session.pipettes.values()
            ],
            "modules": [],
            "labware": [self._labware(one.id) for one in self.session.labware.values()],
            "liquids": [],
            "labwareOffsets": [],
            "runTimeParameters": [],
        }
        if self.maintenance:
            del told["runTimeParameters"]
        times = {"completedAt": self.completed, "startedAt": self.started}
        return told | {name: value for name, value in times.items() if value is not None}

    def _labware(self, labware_id: str) -> dict[str, Any]:
        one = self.session.labware[labware_id]
        definition = one.definition
        told: dict[str, Any] = {
            "id": one.id,
            "loadName": one.load_name,
            "definitionUri": f"{definition['namespace']}/{one.load_name}/{definition['version']}",
            "location": "offDeck" if one.slot is None else {"slotName": one.slot},
        }
        return told | ({"displayName": one.display_name} if one.display_name else {})

    def index_now(self) -> int | None:
        """The running command, else the one carried out last."""
        if self._busy is not None:
            return self.commands.index(self._busy.command)
        done = [index for index, command in enumerate(self.commands) if command.completed]
        return max(done) if done else None

    def first_listed(self, length: int) -> int:
        """Where a list begins that nobody gave a cursor for."""
        if self._busy is not None:
            return self.commands.index(self._busy.command)
        waiting = self._setup or self._protocol
        if waiting:
            return self.commands.index(waiting[0]) - 1
        return len(self.commands) - length

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────
    def add(self, create: c.Create, params: BaseModel) -> Command:
        """Queues a command. Raises Refusal when the run's state does not allow it."""
        if self.ended or self._phase in ("stop-requested", "finishing"):
            raise run_stopped()
        if create.intent == "fixit":
            detail = "Cannot enqueue a fixit command while run is not awaiting recovery."
            raise Refusal(409, "CommandNotAllowed", "Command Not Allowed", detail)
        if create.intent == "setup" and self._phase != "idle":
            detail = "Setup commands are not allowed after run has started."
            raise Refusal(409, "SetupCommandNotAllowed", "Setup Command Not Allowed", detail)
        command_id = str(uuid.uuid4())
        key = create.key or (command_id if create.intent == "setup" else self._chained(create))
        at = self._iso(self._agenda.now)
        command = Command(command_id, key, create.command_type, params, create.intent, at)
        self.commands.append(command)
        (self._setup if create.intent == "setup" else self._protocol).append(command)
        # Queued first, begun a moment later: the answer to who does not wait says `queued`.
        self._agenda.put(self._agenda.now, self._next)
        return command

    def _chained(self, create: c.Create) -> str:
        """A protocol's commands have keys that the same protocol gives again."""
        text = self._last_key + create.command_type + json.dumps(create.params, sort_keys=True)
        self._last_key = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return self._last_key

    def act(self, action_type: str) -> dict[str, Any]:
        """play, pause or stop. Raises Refusal."""
        now = self._agenda.now
        if self._phase in ENDED and not (action_type == "stop" and self._phase == "succeeded"):
            raise action_not_allowed("RunStoppedError", "The run has already stopped.")
        if action_type == "pause" and self._phase != "running":
            raise action_not_allowed("PauseNotAllowedError", "Cannot pause a run that is not running.")
        if action_type == "resume-from-recovery":
            detail = "Cannot resume from recovery when run is not in recovery."
            raise action_not_allowed("ResumeFromRecoveryNotAllowedError", detail)
        if action_type == "play" and self._door_open():
            raise action_not_allowed("RobotDoorOpenError", "Front door or top window is currently open.")
        action = {"id": str(uuid.uuid4()), "createdAt": self._iso(now), "actionType": action_type}
        self.actions.append(action)
        if action_type == "play":
            self._play(now)
        elif action_type == "pause":
            self._phase = "paused"
        elif self._phase != "succeeded":
            self.stop(now)
        return action

    def _play(self, now: float) -> None:
        self._phase = "running"
        self.started = self.started or self._iso(now)
        busy = self._busy
        if busy is not None and busy.plan.waits and busy.end == float("inf"):
            busy.end = now
            self._agenda.put(now, lambda at: self._finish(busy, at))
        self._agenda.put(now, self._next)

    def stop(self, now: float) -> None:
        """Ends it: what is under way is broken off, a tip is thrown away, the gantry goes home."""
        self._setup.clear()
        self._protocol.clear()
        self._break_off(now)
        if self._phase == "idle":
            self._end("stopped", now)
            return
        self._phase = "stop-requested"
        tips = [mount for mount in self._robot.pipettes if self._robot.tip_on(mount)]

        def home(at: float) -> None:
            for mount in tips:
                self._robot.drop(mount)
            self._end("stopped", at)

        self._agenda.put(now + HOME + len(tips) * (MOVE + DROP), home)

    def _break_off(self, now: float) -> None:
        busy, self._busy = self._busy, None
        if busy is None:
            return
        length = busy.end - busy.start
        share = min(1.0, (now - busy.start) / length) if 0 < length < float("inf") else 0.0
        if busy.command.type in ("aspirate", "aspirateInPlace", "dispense", "dispenseInPlace"):
            busy.plan.finish(share, self._epoch(now))
        error = CommandFailed("RunStoppedError", "Run was stopped.")
        self._close(busy.command, now, error=error)

    def _end(self, phase: str, at: float) -> None:
        self._phase = phase
        self.completed = self._iso(at)

    # ── carrying out ─────────────────────────────────────────────────────────────────────────────────────────────
    def _next(self, at: float) -> None:
        if self._busy is not None or self.ended:
            return
        if self._setup:
            self._begin(self._setup.popleft(), at)
        elif self._phase == "running" and self._door_open():
            self._phase = "paused"
        elif self._phase == "running" and self._protocol:
            self._begin(self._protocol.popleft(), at)
        elif self._phase == "running":
            self._end("succeeded", at)

    def _begin(self, command: Command, at: float) -> None:
        command.status = "running"
        command.started = self._iso(at)
        try:
            plan = self.session.plan(command.type, command.params)
        except CommandFailed as error:
            self._close(command, at, error=error)
            return
        slow = float(self._faults.get("slow") or 1.0)
        end = at + plan.duration * slow
        if plan.waits and self._phase == "running":
            self._phase = "paused"
            end = float("inf")
        busy = _Busy(command, plan, at, end)
        self._busy = busy
        if end < float("inf"):
            self._agenda.put(end, lambda now: self._finish(busy, now))

    def _finish(self, busy: _Busy, at: float) -> None:
        if self._busy is not busy:
            return  # it was broken off before
        self._busy = None
        try:
            result = busy.plan.finish(1.0, self._epoch(at))
        except CommandFailed as error:
            self._close(busy.command, at, error=error)
            return
        self._close(busy.command, at, result=result)

    def _close(
        self, command: Command, at: float, *, result: dict[str, Any] | None = None, error: CommandFailed | None = None
    ) -> None:
        command.completed = self._iso(at)
        command.result = result
        command.status = "succeeded" if error is None else "failed"
        if error is not None:
            command.error = error.occurrence(str(uuid.uuid4()), command.completed)
            if command.intent == "protocol" and self._phase in ("running", "paused"):
                self.errors.append(command.error)
                self._end("failed", at)
        self._robot.save()
        command.done.set()
        self._agenda.put(at, self._next)

    def _door_open(self) -> bool:
        return self._door_blocks and bool(self._faults.get("door_open"))
