"""A command over MQTT, validated, journaled and answered, beside a bare round trip and one commit on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt

from benchmarks._figures import RESULTS, Figures
from benchmarks.mqtt.brokers import NODELAY, broker
from benchmarks.mqtt.whole import daemon
from labd.journal.schema import JOURNAL, transaction

ROWS = 4  # a command's: taken, answered, and what is kept of it twice
ANSWER = 30.0  # s
SETTLE = 3  # round trips and commits; what a run does after an order is not part of the next
PROTOCOL = """\
labd: 1
protocol: idle
version: 1.0.0
summary: Wait.
roles: {one: sensor}
start: wait
states:
  wait: {wait: 90 h, next: done}
  done: {end: complete}
"""
DATA = json.dumps({"command_id": "x" * 32, "by": "bench", "over": "mqtt", "state": "accepted"})
COLD = 10  # commands before those that are measured


VERBS = ("hold all", "hold", "unhold")
"""What is measured: an order to all with nothing to be held, and two to a run that changes its state with each."""


@dataclass(slots=True)
class Spent:
    """Seconds of each, one after the other, so that all have the same minutes of the machine."""

    trip: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)
    accepted: dict[str, list[float]] = field(default_factory=lambda: {verb: [] for verb in VERBS})
    done: dict[str, list[float]] = field(default_factory=lambda: {verb: [] for verb in VERBS})

    @property
    def bare(self) -> float:
        return statistics.median(self.trip) + statistics.median(self.commit)


async def echo(port: int) -> None:
    """Sends back what comes, in a process of its own: `python -m benchmarks.mqtt.commanding PORT`."""
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=NODELAY) as client:
        await client.subscribe("echo/there", qos=1)
        await client.publish("echo/back", b"here", qos=1)
        async for message in client.messages:
            await client.publish("echo/back", message.payload, qos=1)


class Person:
    """A client that commands, and hears the answers."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._messages = aiter(client.messages)
        self._asked = ""  # the command that was given last

    async def next(self) -> aiomqtt.Message:
        async with asyncio.timeout(ANSWER):
            return await anext(self._messages)

    async def trip(self) -> None:
        await self._client.publish("echo/there", b"x" * 150, qos=1)
        await self.next()

    async def answer(self) -> dict[str, Any]:
        """What is answered to the command that was given last; others, before it, may have been given up."""
        told: dict[str, Any] = json.loads(bytes(await self._of(f"labd/1/bench/reply/bench/{self._asked}")))
        return told

    async def _of(self, begin: str) -> Any:
        while not (message := await self.next()).topic.value.startswith(begin):
            pass
        return message.payload

    async def command(self, verb: str, arguments: dict[str, Any] | None = None) -> None:
        now = datetime.now(UTC)
        self._asked = uuid.uuid4().hex
        told = {
            "command_id": self._asked,
            "issued_at": now.isoformat(),
            "expires_at": (now + timedelta(seconds=20)).isoformat(),
            "verb": verb,
            "arguments": arguments or {"all": True},
        }
        await self._client.publish(f"labd/1/bench/cmd/bench/{verb}", json.dumps(told), qos=1)


@asynccontextmanager
async def person(port: int) -> AsyncIterator[Person]:
    """One who hears the echo and the lab's answers."""
    module = (sys.executable, "-m", "benchmarks.mqtt.commanding", str(port))
    client = aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=NODELAY)
    async with client:
        await client.subscribe([("echo/back", 1), ("labd/1/bench/reply/bench/+", 1)])
        echoing = await asyncio.create_subprocess_exec(*module)
        try:
            found = Person(client)
            await found.next()  # it is there
            yield found
        finally:
            echoing.kill()
            await echoing.wait()


async def _once(work: Callable[[], Awaitable[object]], into: list[float], began: float | None = None) -> float:
    start = time.perf_counter() if began is None else began
    await work()
    into.append(time.perf_counter() - start)
    return start


class Bare:
    """A round trip and a commit, as one by one they would be without a daemon."""

    def __init__(self, one: Person, connection: sqlite3.Connection, found: Spent) -> None:
        self._one, self._connection, self._found = one, connection, found
        self._seq = 0

    async def once(self) -> None:
        await _once(self._one.trip, self._found.trip)
        rows = [
            (self._seq + number, "2026-01-01T08:00:00.000000Z", None, "command.answered", DATA, "0" * 64)
            for number in range(1, ROWS + 1)
        ]
        self._seq += ROWS
        start = time.perf_counter()
        with transaction(self._connection):
            self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._found.commit.append(time.perf_counter() - start)


async def spent(port: int, folder: Path, times: int) -> Spent:
    """Round trips, commits and commands in turn, `times` of each command."""
    found = Spent()
    with contextlib.closing(JOURNAL.connect(folder / "bare.sqlite")) as connection:
        async with person(port) as one:
            bare = Bare(one, connection, found)
            await _ready(one)
            for _ in range(times):
                await bare.once()
                await _commanded(one, "hold", {"all": True}, found.accepted["hold all"], found.done["hold all"])
            told = await _commanded(one, "start", {"protocol": PROTOCOL, "name": "idle.yaml"}, [], [])
            order = {"run": told["result"]["run"]}
            for _ in range(times):
                for verb in ("hold", "unhold"):
                    for _ in range(SETTLE):
                        await bare.once()
                    await _commanded(one, verb, order, found.accepted[verb], found.done[verb])
    return found


async def _commanded(
    one: Person, verb: str, arguments: dict[str, Any], accepted: list[float], done: list[float]
) -> dict[str, Any]:
    """Gives a command, and notes when it was answered."""
    start, told = time.perf_counter(), {}
    await one.command(verb, arguments)
    for state, into in (("accepted", accepted), ("done", done)):
        told = await one.answer()
        into.append(time.perf_counter() - start)
        if told["state"] != state:
            raise RuntimeError(f"a command was not {state}: {told}")
    return told


async def _ready(one: Person) -> None:
    """Waits until the daemon answers commands, and for the first few: they find everything cold."""
    answered = 0
    while answered < COLD:
        await one.command("hold")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while (await one.answer())["state"] != "done":
                    pass
                answered += 1


def run(smoke: bool, figures: Figures) -> None:
    """In the whole daemon, with mosquitto; nothing without."""
    RESULTS.mkdir(exist_ok=True)
    with broker() as port:
        if port is None:
            return
        with tempfile.TemporaryDirectory(dir=RESULTS) as folder, daemon(port, embedded=False, devices=1):
            found = asyncio.run(spent(port, Path(folder), 30 if smoke else 1000))
    tails = sorted(trip + commit for trip, commit in zip(found.trip, found.commit, strict=True))
    bare, tail = found.bare, _p99(tails)
    figures.add("command_bare_p50", bare * 1e3, "ms")
    figures.add("command_bare_p99", tail * 1e3, "ms")
    for verb in VERBS:
        name, accepted, done = f"command_{verb.replace(' ', '_')}", found.accepted[verb], found.done[verb]
        figures.add(f"{name}_p50", statistics.median(accepted) * 1e3, "ms")
        figures.add(f"{name}_p99", _p99(accepted) * 1e3, "ms")
        figures.add(f"{name}_p50_over_bare", statistics.median(accepted) / bare, "ratio", goal=2.0, better="lower")
        figures.add(f"{name}_p99_over_bare", _p99(accepted) / bare, "ratio", goal=4.0, better="lower")
        # on a busy machine the bare ones are late, too: what the daemon adds to that
        figures.add(f"{name}_p99_over_bare_p99", _p99(accepted) / tail, "ratio", goal=4.0, better="lower")
        figures.add(f"{name}_done_p50", statistics.median(done) * 1e3, "ms")
        figures.add(f"{name}_done_p99", _p99(done) * 1e3, "ms")


def _p99(spent: list[float]) -> float:
    return sorted(spent)[math.ceil(len(spent) * 0.99) - 1]


if __name__ == "__main__":
    asyncio.run(echo(int(sys.argv[1])))
