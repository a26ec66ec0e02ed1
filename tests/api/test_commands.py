"""The command line as a process of its own, against a daemon's interface, in real time."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import PRESSING, Bench, Served
from tests.toys import ToyPress


@pytest.fixture
def anyio_backend(real_time: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return real_time


@dataclass
class Ended:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def labd(bench: Bench, *arguments: str, **environment: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from labd.cli import main; main()",
        *arguments,
        env={**os.environ, "LABD_SOCKET": str(bench.path), "COLUMNS": "200", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def completed(bench: Bench, *words: str) -> list[str]:
    """What a shell is offered for the last of these words."""
    line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return (await labd(bench, **line, _LABD_COMPLETE="complete_bash")).out.splitlines()


def quick(bench: Bench) -> None:
    press = bench.engine.lab.devices["press"].driver
    assert isinstance(press, ToyPress)
    press.script["crimp"] = [0.01]


async def test_a_run_from_its_start_to_its_story(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "pressing.yaml"
    file.write_text(PRESSING)
    async with served() as bench, asyncio.TaskGroup() as group:
        quick(bench)
        waiting = group.create_task(labd(bench, "run", str(file), "force=6 kN", "--sample", "cell-7", "--wait"))
        asks = await bench.first_question()
        status = await labd(bench, "status")
        assert "Is the cell sound?" in status.out
        assert "  labd answer run-0001 'keep it'\n  labd answer run-0001 'scrap it'\n" in status.out
        assert await completed(bench, "labd", "answer", asks["run"], "") == ["keep it", "scrap it"]
        answered = await labd(bench, "answer", asks["run"], "keep", "it", "--json")
        assert (answered.status, answered.json["question"]) == (0, None)
        ended = await waiting
        assert (ended.status, ended.err) == (0, "")
        assert "Is the cell sound?" in ended.out
        assert "complete" in ended.out.splitlines()[-1]

        story = await labd(bench, "show", asks["run"])
        who = pwd.getpwuid(os.getuid()).pw_name
        assert f"pressing 1.0.0 for cell-7, started by {who}" in story.out
        assert "press.crimp dwell 2 s, force 6 kN" in story.out
        assert "peak_force 7.8 kN" in story.out
        assert f"{who} after" in story.out
        assert "\x1b" not in story.out


async def test_what_is_refused_ends_with_1_and_bad_input_with_2(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "pressing.yaml"
    file.write_text(PRESSING)
    async with served() as bench:
        quick(bench)
        bad = await labd(bench, "run", str(file), "force=50 kN", "pressure=1")
        assert (bad.status, bad.out) == (2, "")
        assert bad.err.startswith("labd: 2 problems\n")
        assert "force" in bad.err
        assert "pressure" in bad.err
        run = (await bench.start())["run"]
        assert await completed(bench, "labd", "show", "run-") == [run]
        assert await completed(bench, "labd", "devices", "pr") == ["press"]
        refused = await labd(bench, "clear", run, "--json")
        assert (refused.status, refused.out) == (1, "")
        assert json.loads(refused.err)["error"]["code"] == "refused"
        unknown = await labd(bench, "show", "run-9999")
        assert (unknown.status, unknown.err) == (
            2,
            "labd: there is no run 'run-9999'; `labd status --all` lists them\n",
        )
        stopped = await labd(bench, "stop", run, "--cause", "wrong lid")
        assert stopped.status == 0
        assert (await bench.wait(run))["outcome"] == "stopped"


async def test_whoever_waits_is_told_that_the_daemon_has_ended(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "pressing.yaml"
    file.write_text(PRESSING)
    async with served() as bench, asyncio.TaskGroup() as group:
        quick(bench)
        waiting = group.create_task(labd(bench, "run", str(file), "--wait"))
        await bench.first_question()
        await bench.server.stop()
        ended = await waiting
    assert ended.status == 1
    assert "when its daemon was last heard" in ended.err
    assert "no daemon answers" in ended.err


async def test_what_guards_the_lab_is_seen_and_said(served: Served) -> None:
    async with served() as bench:
        press = bench.engine.lab.devices["press"].driver
        assert isinstance(press, ToyPress)
        press.reads["estop"] = True
        bench.engine.lab.devices["press"].watch("test", on=True)
        while not bench.engine.lab.alarms.active:
            await asyncio.sleep(0.01)
        status = await labd(bench, "status")
        assert "problem interlock-press-estop since " in status.out
        assert "labd clear --interlock press-estop" in status.out
        assert "interlocks: 1, tripped: press-estop" in status.out
        assert (await labd(bench, "status", "--json")).json["alarms"][0]["id"] == "interlock-press-estop"
        assert await completed(bench, "labd", "acknowledge", "") == ["interlock-press-estop"]
        seen = await labd(bench, "acknowledge", "interlock-press-estop")
        assert f"(seen by {pwd.getpwuid(os.getuid()).pw_name})" in seen.out
        refused = await labd(bench, "clear", "--interlock", "press-estop")
        assert (refused.status, "press.estop still holds" in refused.err) == (1, True)
        press.reads["estop"] = False
        assert "tripped since" in (await labd(bench, "interlocks")).out
        cleared = await labd(bench, "clear", "--interlock", "press-estop")
        assert (cleared.status, "interlock press-estop is cleared" in cleared.out) == (0, True)
        taken = await labd(bench, "maintenance", "press", "--reason", "new seal")
        assert "new seal" in taken.out
        assert ": new seal" in (await labd(bench, "status")).out
        assert (await labd(bench, "maintenance", "press", "--off", "--json")).json["maintenance"] is None


async def test_a_sample_is_registered_run_by_its_barcode_and_traced(served: Served) -> None:
    async with served() as bench:
        assert "there is no sample yet" in (await labd(bench, "sample")).out
        code = "https://cells/7?a=b"
        said = await labd(
            bench, "sample", "nmc-7", "--barcode", code, "--active-mass", "12.3 mg", "--about", "coating=N3"
        )
        assert (said.status, "active mass 12.3 mg, coating N3" in said.out) == (0, True)
        file = bench.path.parent / "pressing.yaml"
        file.write_text(PRESSING, encoding="utf-8")
        quick(bench)
        run = (await labd(bench, "run", str(file), "--sample", code, "--position", "press/nest", "--json")).json["run"]
        assert (await bench.wait(run))["question"]
        await labd(bench, "answer", run, "keep it")
        await bench.wait(run, seen="")
        told = (await labd(bench, "sample", code)).out
        assert "nmc-7, barcode https://cells/7?a=b: complete in run-0001" in told
        assert "crimped with 7.8 kN" in told
        assert f"{pwd.getpwuid(os.getuid()).pw_name} after" in told
        assert "nmc-7" in (await labd(bench, "sample")).out
        gone = (await labd(bench, "sample", "nmc-7", "--no-barcode", "--about", "coating=", "--json")).json
        assert (gone["barcode"], gone["about"]) == (None, {})
        assert await completed(bench, "labd", "sample", "n") == ["nmc-7"]
        for wrong, status, text in (
            (["--barcode", "7"], 2, "name the sample that this is about"),
            (["nmc-7", "--barcode", "7", "--no-barcode"], 2, "not both"),
            (["nmc-7", "--active-mass", "12.3"], 2, "is no mass; write such as '12.3 mg'"),
            (["nmc-8"], 2, "did you mean `nmc-7`?; `labd sample` lists them"),
        ):
            ended = await labd(bench, "sample", *wrong)
            assert (ended.status, text in ended.err) == (status, True), ended.err
