"""A person before a lab whose daemon dies again and again: starts cells, holds, answers by looking, and goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.faults.scripts import Script
from benchmarks.faults.stage import MEMORY
from labd.journal import Event
from simulators._kit.world import World

OK, CREATED, CONFLICT = 200, 201, 409
ANSWERS_IN = 20.0  # s until a daemon must have answered
HELD = 0.02  # chance that a look at a run is followed by a hold and an unhold
LOOKS_EVERY = 0.04  # s
LOOK = ". Look at it: was it done?"
STANDS = 60.0  # s of lab time after which all that was ordered has happened


class Api:
    """The daemon's interface over its Unix socket, one connection a request. Nobody there: one of `GONE` is raised."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer."""
        connection = http.client.HTTPConnection("labd", timeout=ANSWERS_IN)
        with contextlib.closing(connection), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWERS_IN)
            sock.connect(str(self._path))
            connection.sock = sock
            told = None if body is None else json.dumps(body)
            connection.request(method, f"/api/v1{path}", told, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


GONE = (OSError, http.client.HTTPException, ValueError)  # ValueError: an answer that was cut in its middle


@dataclass(slots=True)
class Acknowledged:
    """What the daemon has said yes to, and what it has shown of its journal."""

    started: list[str] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)  # run, command
    answers: list[tuple[str, str]] = field(default_factory=list)  # question, choice
    events: dict[int, str] = field(default_factory=dict)  # seq -> hash

    def __len__(self) -> int:
        return len(self.started) + len(self.commands) + len(self.answers) + len(self.events)

    def lost(self, journal: list[Event]) -> int:
        """How much of it the journal does not have."""
        began = {event.run for event in journal if event.kind == "run.started"}
        taken = Counter((e.run, e.data["command"]) for e in journal if e.kind == "command.accepted")
        said = {(e.data["question_id"], e.data["choice"]) for e in journal if e.kind == "question.answered"}
        hashes = {event.seq: event.hash for event in journal}
        lost = sum(run not in began for run in self.started)
        lost += sum(max(0, times - taken[one]) for one, times in Counter(self.commands).items())
        lost += sum(answer not in said for answer in self.answers)
        return lost + sum(hashes.get(seq) != told for seq, told in self.events.items())


@dataclass(slots=True)
class Person:
    """Works on the cells of some wells until all have ended.

    Args:
        api: the daemon's, when there is one.
        script: how a cell is made.
        wells: of the cells.
        look: gives the world as it is now.
        bare: takes used tips off the robot.
        scale: lab seconds a machine second.
    """

    api: Api
    script: Script
    wells: tuple[str, ...]
    look: Callable[[], World]
    bare: Callable[[], None]
    rng: random.Random
    scale: float
    yes: Acknowledged = field(default_factory=Acknowledged)
    asked: Counter[str] = field(default_factory=Counter)  # what people were asked, in words
    refused: list[str] = field(default_factory=list)
    _looked: set[tuple[str, str]] = field(default_factory=set)  # run, question
    _runs: dict[str, str] = field(default_factory=dict)  # by well
    _events: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)  # by run

    def work(self) -> bool:
        """Once around; whether all cells have ended. Raises one of `GONE` when the daemon dies meanwhile."""
        _, status = self.api.ask("GET", "/status")
        if status["daemon"]["state"] == "safe mode":
            self.api.ask("POST", "/resume", {"by": "faults"})
        _, runs = self.api.ask("GET", "/runs")
        self._runs = {run["sample"].removeprefix("cell-").upper(): run["run"] for run in runs}
        for well in self.wells:
            if well not in self._runs:
                self._start(well)
        for run in runs:
            if run["ended"] is None:
                self._look_after(run)
        return bool(runs) and len(runs) == len(self.wells) and all(run["ended"] is not None for run in runs)

    def _start(self, well: str) -> None:
        status, told = self.api.ask("POST", "/runs", self.script.start(well))
        if status == CREATED:
            self.yes.started.append(told["run"])
        elif status == CONFLICT:
            self.refused.append(str(told))  # the lab is still getting up
        else:
            raise RuntimeError(f"a run was refused: {told}")

    def _look_after(self, run: dict[str, Any]) -> None:
        self._read(run["run"])
        if run["question"] is not None:
            self._answer(run["run"], run["question"])
        elif run["state"] == "Held":
            self._unhold(run["run"])
        elif run["state"] == "Execute" and self.rng.random() < HELD:
            self._command(run["run"], "hold")

    def _read(self, run: str) -> None:
        mine = self._events.setdefault(run, {})
        _, told = self.api.ask("GET", f"/runs/{run}/events?after={max(mine, default=0)}")
        for event in told["events"]:
            mine[event["seq"]] = event
            self.yes.events[event["seq"]] = event["hash"]

    def _command(self, run: str, verb: str, **more: Any) -> Any:
        status, told = self.api.ask("POST", f"/runs/{run}/commands/{verb}", {"by": "faults", **more})
        if status == OK:
            self.yes.commands.append((run, verb))
            return None
        return told

    def _unhold(self, run: str) -> None:
        refused = self._command(run, "unhold")
        if refused is not None:
            self.refused.append(f"{run} unhold: {refused}")
            time.sleep(0.5)

    def _answer(self, run: str, question: dict[str, Any]) -> None:
        if question["kind"] != "outcome":
            self.asked[f"{run}: {question['text']}"] += 1
            choice = question["choices"][-1]  # give it up: this must never be asked where nothing physical goes wrong
        else:
            choice = self._truth(run, question)
        status, told = self.api.ask("POST", f"/runs/{run}/answer", {"choice": choice, "by": "faults"})
        if status == OK:
            self.yes.answers.append((question["id"], choice))
        else:
            self.refused.append(f"{run} answer: {told}")

    def _truth(self, run: str, question: dict[str, Any]) -> str:
        """By a look at the world, once everything stands still: what has happened since the action was ordered."""
        mine = self._events[run].values()
        asked = {e["data"]["question_id"]: e["data"] for e in mine if e["kind"] == "question.asked"}
        if question["id"] not in asked:
            raise ValueError("its question is not in the journal yet")
        intents = {e["data"]["action_id"]: e for e in mine if e["kind"] == "action.intended"}
        intent = intents[asked[question["id"]]["action_id"]]
        if (run, question["id"]) not in self._looked:
            self._looked.add((run, question["id"]))
            why = question["text"].partition(": ")[2].removesuffix(LOOK)
            self.asked[f"{intent['data']['device']}.{intent['data']['action']}: {why}"] += 1
            time.sleep(STANDS / self.scale)
        if intent["data"]["action"] == "transfer":
            self.bare()
        return "done" if happened(self.look(), intent) else "not done"


def happened(world: World, intent: dict[str, Any]) -> bool:
    """Whether what was ordered has happened."""
    since = datetime.fromisoformat(intent["at"]).timestamp()
    data = intent["data"]
    log = [words for at, words in world.memory(MEMORY).get("log", []) if at >= since]
    match data["action"]:
        case "transfer":
            return any(words.startswith("dose for ") for words in log)
        case "pick":
            return any(words.endswith(" to arm/gripper") for words in log)
        case "place":
            place = data["parameters"]["place"]
            there = world.item(place)
            on_it = there is not None and any(words.endswith(f" on {there.id}") for words in log)
            return on_it or any(words.endswith(f" to {place}") for words in log)
        case "crimp":
            cell = world.cell("press/nest")
            return cell is not None and cell.crimped_at is not None and cell.crimped_at >= since
    raise ValueError(f"nobody looks after {data['action']}")
