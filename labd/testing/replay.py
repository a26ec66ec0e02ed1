"""Transcripts, on the driver and on the simulator alike: both must agree with what a device said."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from labd import clock
from labd.io.transcript import Entry, Origin, Transcript
from labd.sdk import Call, DeviceError, Driver, Labware, Position, Setup
from labd.testing.players import Client, client, device
from labd.testing.stage import CONNECT_LIMIT, settings_of, within
from labd.testing.subject import Subject
from simulators._kit.simulator import Bench
from simulators._kit.world import World

ONE_CALL = 3600.0  # s that a call may take at most
_OF_THE_DRIVER = frozenset({"connect", "read_state", "safe_state"})
SLACK = 0.2  # s by which an exchange may lag behind the transcript
BEFOREHAND = 60.0  # s for each request that brings a simulator to where a transcript begins

_WITH_DIGITS = re.compile(r"[\w.+\-]*\d[\w.+\-]*")
_ENDS = re.compile(r"[\r\n\0\x03]+")
_FLOW = re.compile(r"[\x11\x13]")


async def transcripts_replay_on_the_driver(subject: Subject, directory: Path) -> None:
    """Told the transcript's `calls`, the driver sends what it holds, byte for byte, and to its end."""
    for number, path in enumerate(subject.recordings()):
        transcript = Transcript.read(path)
        if not transcript.origin.calls or transcript.origin.link == "opcua":
            continue
        folder = directory / f"{number}"
        folder.mkdir()
        played = device(transcript)
        try:
            driver = await _driver(subject, transcript, played, folder)
            problem = await _told(driver, transcript)
            await driver.close()  # never raises
        finally:
            await played.stop()
        left = f"; next it would hear {played.player.rest[0].data!r}" if played.player.rest else ""
        assert played.problem is None, f"{path.name}: {played.problem}"
        assert problem is None, f"{path.name}: {problem}{left}"
        assert not played.player.rest, f"{path.name}: the driver never sent {played.player.rest[0].data!r}"


async def _driver(subject: Subject, transcript: Transcript, played: Any, folder: Path) -> Driver:
    problems: list[str] = []
    for settings in settings_of(subject):
        said = {**settings, **transcript.origin.settings}
        key = next((key for key, value in said.items() if key in settings and _is_address(value)), None)
        if key is None:
            continue
        try:
            subject.driver.Settings.model_validate(said)
        except ValueError as error:
            problems.append(str(error))
            continue
        address = await played.start(str(said[key]), folder)
        return subject.driver(_setup(subject, transcript, {**said, key: address}))
    raise AssertionError(f"no address among its settings: {'; '.join(problems)}")


def _is_address(value: object) -> bool:
    return isinstance(value, str) and ("://" in value or re.search(r":0$|::0::|/", value) is not None)


def _setup(subject: Subject, transcript: Transcript, settings: dict[str, Any]) -> Setup:
    trial = subject.trial
    positions = {place: Position(pose) for place, pose in _positions(subject, transcript).items()}
    deck = tuple(Labware(one["place"], one["labware"], one.get("contents", {})) for one in trial.deck)
    return Setup(subject.name, settings, positions, deck)


def _positions(subject: Subject, transcript: Transcript) -> dict[str, Any]:
    taught = {place: tuple(one["pose"]) for place, one in subject.trial.positions.items()}
    return {**taught, **transcript.origin.positions}


async def _told(driver: Driver, transcript: Transcript) -> str | None:
    """Tells the driver its calls; what went wrong, or None."""
    for number, (name, *more) in enumerate(transcript.origin.calls, 1):
        values = more[0] if more else {}
        expected = more[1] if len(more) > 1 else None
        try:
            if name in _OF_THE_DRIVER:
                await within(CONNECT_LIMIT, getattr(driver, name)(), name)
            else:
                action = driver.actions[name]
                parameters = action.parameters.model_validate(values)
                call = Call(f"run-1-{number:03d}", driver.units[0])
                await within(ONE_CALL, driver.invoke(action, parameters, call), name)
        except DeviceError as error:
            if error.kind != expected:
                return f"{name}: {error!r}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test tells
            return f"{name}: {error!r}"
        else:
            if expected is not None:
                return f"{name}: was done, and should be {expected}"
    return None


async def transcripts_replay_on_the_simulator(subject: Subject, directory: Path) -> None:
    """Sent the transcript's requests, the simulator answers in the same shape: lines, words, and numbers as numbers."""
    for number, path in enumerate(subject.recordings()):
        transcript = Transcript.read(path)
        if not transcript.origin.calls or transcript.origin.link == "opcua":
            continue
        assert subject.simulator is not None
        trial = subject.trial
        world = World(3)
        world.furnish(trial.deck)
        trial.furnish(world)
        settings = {**settings_of(subject)[0], **transcript.origin.settings}
        options = {**trial.options, **transcript.origin.options}
        taught = {place: {"pose": list(pose)} for place, pose in _positions(subject, transcript).items()}
        simulator = subject.simulator(
            Bench(subject.name, world, settings, options, taught, trial.deck, directory / f"{number}")
        )
        async with contextlib.AsyncExitStack() as stack:
            found = await simulator.start()
            stack.push_async_callback(simulator.stop)
            talker = client(transcript)
            await talker.open(next(str(value) for value in found.values() if isinstance(value, str)))
            stack.push_async_callback(talker.close)
            await _played(talker, transcript, path.name)
            await asyncio.sleep(0)


async def _played(talker: Client, transcript: Transcript, name: str) -> None:
    """Says what the transcript holds, when it holds it; what is answered must be alike."""
    origin = transcript.origin
    for request in origin.beforehand:
        await talker.say(Entry(dir="out", data=request), BEFOREHAND)
    due = clock.monotonic()
    for said, answers in _exchanges(transcript.entries, begun=bool(origin.beforehand)):
        due += said.dt if said is not None else 0.0
        await asyncio.sleep(max(0.0, due - clock.monotonic()))
        wanted = "".join(one.data for one in answers)
        own = said is not None and any(said.data.startswith(words) for words in origin.own_words)
        alike = partial(_unlike, wanted, origin=origin, own_words=own)
        takes = sum(one.dt for one in answers)
        heard = await talker.say(said, takes if wanted else 0.0, lambda told: bool(told) and alike(told) is None)  # noqa: B023
        due += takes
        if clock.monotonic() - due > SLACK:  # it was listened that nothing is said: what comes next keeps its distance
            due = clock.monotonic()
        problem = alike(heard)
        assert problem is None, f"{name}: to {said.data if said else ''!r} the simulator {problem}"


def _exchanges(entries: tuple[Entry, ...], *, begun: bool) -> Iterator[tuple[Entry | None, list[Entry]]]:
    """Each request with its answers; first what is said unasked, unless that was heard already."""
    current: Entry | None = None
    answers: list[Entry] = []
    for entry in entries:
        if entry.dir == "out":
            if current is not None or (answers and not begun):
                yield current, answers
            current, answers = entry, []
        else:
            answers.append(entry)
    yield current, answers


def _unlike(wanted: str, heard: str, *, origin: Origin, own_words: bool) -> str | None:
    """In what two answers differ that should be alike, or None."""
    if origin.link == "modbus":
        alike = wanted[:2] == heard[:2] and len(wanted) == len(heard)
        return None if alike else f"answers {heard}, and the device {wanted}"
    if origin.link == "http":
        status, _, body = wanted.partition(" ")
        told, _, said = heard.partition(" ")
        if status != told:
            return f"answers with {told}, and the device with {status}"
        problem = _unlike_json(json.loads(body or "null"), json.loads(said or "null"), "")
        return f"answers otherwise: {problem}" if problem else None
    expected, found = _shape(wanted, origin.unasked), _shape(heard, origin.unasked)
    if bool(expected) == bool(found) and (own_words or expected == found):
        return None
    return f"says {heard!r}, which is unlike {wanted!r}"


def _shape(text: str, unasked: tuple[str, ...]) -> list[str]:
    """Lines with `#` for each word that has a digit; the same line again and again stands once."""
    said = [line for line in _ENDS.split(_FLOW.sub("", text)) if not line.startswith(unasked)]
    lines = [_WITH_DIGITS.sub("#", " ".join(line.split())) for line in said]
    return [line for line, _ in itertools.groupby(line for line in lines if line)]


def _unlike_json(wanted: Any, heard: Any, where: str) -> str | None:
    if isinstance(wanted, dict) and isinstance(heard, dict):
        lacking = [key for key in wanted if key not in heard]
        if lacking:
            return f"{where or 'the body'} lacks {', '.join(lacking)}"
        found = (_unlike_json(value, heard[key], f"{where}.{key}") for key, value in wanted.items())
        return next((problem for problem in found if problem), None)
    number = (int, float)
    if wanted is None or heard is None or isinstance(wanted, type(heard)):
        return None
    if isinstance(wanted, number) and isinstance(heard, number):
        return None
    return f"{where} is {heard!r}, and should be like {wanted!r}"
