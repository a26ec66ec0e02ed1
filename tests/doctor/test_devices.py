"""A doctor among devices: opened, asked and closed where no daemon has them, and never moved."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labd.doctor import Answers, examine, worst
from labd.doctor.devices import examine_packages, examine_told
from labd.doctor.finding import Finding
from labd.journal import Journal, NewEvent
from labd.sdk import About, Driver, Quality, Setup, Unreachable
from tests.toys import TOYS, Toy, ToyPress

LAB = "labd: 1\nlab: bench\nstore: store\ndevices:\n  press: {driver: press, poll: {idle: 10 s, busy: 2 s}}\n"


class Seen(ToyPress):
    """A press of which a test may say how it answers; it keeps what was done to it."""

    last: Seen
    offset = 0.0
    takes = 0.0
    problem: Exception | None = None

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.closed = 0
        type(self).last = self

    async def connect(self) -> About:
        if self.problem is not None:
            raise self.problem
        return About(model="MSK-160E", serial="7", firmware="2.1")

    async def read_state(self) -> Any:
        await asyncio.sleep(self.takes)
        return await super().read_state()

    async def time(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(seconds=self.offset)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def of(found: list[Finding], about: str) -> list[Finding]:
    return [finding for finding in found if finding.about == about]


def finder(kind: type[Driver]) -> Any:
    return lambda name: kind if name == "press" else TOYS[name]


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


async def test_a_device_that_answers_is_named_and_closed_and_nothing_moves(lab: Path) -> None:
    class Good(Seen):
        pass

    (finding,) = of(await examine(lab, None, find=finder(Good)), "press")
    assert (finding.level, finding.text) == ("ok", "answers: MSK-160E, serial 7, firmware 2.1")
    assert Good.last.closed == 1
    assert (Good.last.happened, Good.last.safe) == ([], [])
    assert of(await examine(lab, None, connect=False, find=finder(Good)), "press") == []


async def test_what_does_not_answer_is_told_in_its_drivers_words(lab: Path) -> None:
    class Gone(Seen):
        problem = Unreachable("nobody listens at 10.0.0.9:502; is the device on?")

    class Broken(Seen):
        problem = KeyError("x")

    (finding,) = of(await examine(lab, None, find=finder(Gone)), "press")
    assert (finding.level, finding.text) == ("problem", "nobody listens at 10.0.0.9:502; is the device on?")
    assert Gone.last.closed == 1
    (finding,) = of(await examine(lab, None, find=finder(Broken)), "press")
    assert finding.level == "problem"
    assert "KeyError" in finding.text


async def test_slow_readings_a_clock_that_is_off_and_another_firmware_are_told(lab: Path) -> None:
    class Odd(Seen):
        offset = 95.0
        quality = Quality("recorded", firmware="2.0")

    lab.write_text(LAB.replace("busy: 2 s", "busy: 0.05 s"))
    Odd.takes = 0.2
    found = of(await examine(lab, None, find=finder(Odd)), "press")
    assert [finding.level for finding in found] == ["ok", "warning", "warning", "warning"]
    said = " ".join(finding.text for finding in found)
    assert "every 0.05 s" in said
    assert "was tried with 2.0" in said
    assert "95 s ahead of" in said


async def test_a_device_that_was_cut_off_in_an_action_is_left_to_the_next_daemon(lab: Path) -> None:
    class Untouched(Seen):
        problem = AssertionError("it was opened")

    journal = await Journal.open(_made(lab.parent / "store") / "journal.sqlite")
    intended = {"action_id": "run-0001-001", "device": "press", "unit": "", "action": "crimp", "on_loss": "stop"}
    await journal.append(NewEvent("action.intended", intended, "run-0001"))
    await journal.close()
    (finding,) = of(await examine(lab, None, find=finder(Untouched)), "press")
    assert finding.text == "left alone: crimp of run-0001 was under way when the daemon ended"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def test_a_lab_that_does_not_hold_is_told_with_its_place(lab: Path) -> None:
    lab.write_text(LAB.replace("driver: press", "driver: pres"))
    found = await examine(lab, None)
    assert worst(found) == 2
    (finding,) = [one for one in of(found, "lab") if one.level == "problem"]
    assert "lab.yaml:5:" in finding.text
    assert "L201" in finding.text


async def test_devices_of_a_daemon_that_runs_are_left_to_it(lab: Path) -> None:
    class Untouched(Seen):
        problem = AssertionError("it was opened")

    told = {"device": "press", "health": "down", "problem": "no answer", "maintenance": None, "firmware": "1"}
    daemon = {"pid": 1, "version": "9", "mqtt": {"connected": False, "problem": "refused"}}
    alarm = {"id": "disk", "severity": "warning", "text": "gets full"}
    answers = Answers({"daemon": daemon, "alarms": [alarm]}, {"press": told}, {"press": -30.0})
    found = await examine(lab, answers, find=finder(Untouched))
    assert [finding.level for finding in of(found, "press")] == ["problem", "warning"]
    assert "30 s behind" in of(found, "press")[1].text
    assert any("alarm disk" in finding.text for finding in of(found, "daemon"))
    assert any("not connected: refused" in finding.text for finding in of(found, "broker"))


def test_packages_that_are_missing_and_devices_in_maintenance_are_told() -> None:
    class Needs(Toy):
        packages = {"json": "json", "no_such_thing": "no-such-thing>=2"}

    (finding,) = examine_packages("smu", Needs)
    assert (finding.level, finding.mend) == ("problem", "pip install 'no-such-thing>=2'")
    told = {"device": "press", "health": "down", "problem": "off", "maintenance": {"by": "eva", "reason": "new seal"}}
    (finding,) = examine_told(told, None, None)
    assert (finding.level, finding.text) == ("ok", "in maintenance by eva: new seal")
