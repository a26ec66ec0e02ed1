"""`labd campaign`: what people say and see of campaigns, with a daemon and without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from labd.campaign.engine import Campaigns
from labd.cli.app import app
from labd.clock import LabLoop, Timeline
from tests.campaign.living import FILE, PRESS
from tests.campaign.serving import served


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The commands run in a thread, on the machine's time."""
    return "asyncio", {"loop_factory": lambda: LabLoop(Timeline(factor=60.0))}


class Said:
    """Commands of one person to one daemon."""

    def __init__(self, socket: Path, file: Path, campaigns: Campaigns) -> None:
        self.socket, self.file, self.campaigns = socket, file, campaigns

    async def __call__(self, verb: str, *more: str, bad: int = 0) -> str:
        asked = ["campaign", verb, str(self.file), *more, "--socket", str(self.socket)]
        ended: Result = await asyncio.to_thread(CliRunner().invoke, app, asked)
        assert ended.exit_code == bad, ended.output
        return ended.output

    async def until(self, status: str, number: int) -> None:
        record = self.campaigns.find("pressing").record
        while len(record.of(status)) < number:  # type: ignore[arg-type]
            await asyncio.sleep(1.0)


@pytest.fixture
async def said(tmp_path: Path) -> AsyncIterator[Said]:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "press.yaml").write_text(PRESS, encoding="utf-8")
    (folder / "pressing.yaml").write_text(FILE.replace("cells: 3", "cells: 40"), encoding="utf-8")
    async with served(tmp_path) as found:
        await found.campaigns._engine.queue.pause(by="eva")
        said = Said(found.socket, folder / "pressing.yaml", found.campaigns)
        await said("run")
        await said.until("queued", 2)
        yield said


async def test_a_campaign_is_started_looked_at_steered_and_stopped(said: Said) -> None:
    assert "2 queued" in await said("status")
    assert "vetoed by" in await said("veto", "p0001", "--why", "it tears the can")
    assert "force 4.2 kN" in await said("edit", "p0002", "force=4200 N", "--why", "lower") + await said("status")
    for _ in range(2):  # the same request
        assert "p0003" in await said("add", "force=5.5 kN", "--why", "a hunch", "--request", "hunch-1")
    assert "paused: lunch" in await said("pause", "--why", "lunch")
    assert "working" in await said("resume")
    assert "ended: stopped by" in await said("stop", "--why", "enough")
    shown = json.loads(await said("report", "--json"))
    assert [one["status"] for one in shown["proposals"]] == ["vetoed"] * 3
    assert shown["proposals"][1]["notes"][0]["why"] == "lower"


async def test_a_report_tells_what_was_measured_and_how_the_best_came_on(said: Said) -> None:
    await said.campaigns._engine.queue.resume(by="eva")
    await said.until("observed", 2)
    shown = await said("report")
    assert "Find the force that the press reaches." in shown
    assert "off " in shown.split("best so far")[1]


async def test_a_report_is_one_file_that_needs_nothing_else(said: Said, tmp_path: Path) -> None:
    await said.campaigns._engine.queue.resume(by="eva")
    await said.until("observed", 2)
    file = tmp_path / "pressing.html"
    assert str(file) in await said("report", "-o", str(file))
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<h1>campaign pressing</h1>" in page
    assert "<td>p0001</td><td>observed</td>" in page
    assert '<svg role="img" aria-label="off / N, experiment by experiment"' in page
    assert not [part for part in ("<script", "<link", "src=", "@import") if part in page]


async def test_a_report_that_cannot_be_written_is_said(said: Said, tmp_path: Path) -> None:
    assert "name another with -o" in await said("report", "-o", str(tmp_path / "no" / "such.html"), bad=2)


async def test_what_cannot_be_is_refused_in_words(said: Said) -> None:
    assert "no proposal 'p0099'" in await said("veto", "p0099", "--why", "no", bad=1)
    assert "outside of `force`" in await said("edit", "p0001", "force=12 kN", "--why", "more", bad=1)
    assert "force: V is a voltage, kN a force" in await said("add", "force=3 V", "--why", "less", bad=2)
    assert "is not paused" in await said("resume", bad=1)


async def test_candidates_are_told_and_not_queued(said: Said) -> None:
    assert "nothing was queued" in await said("propose", "--count", "3")
    assert len(said.campaigns.find("pressing").record.all) == 2


def test_a_file_that_was_never_run_has_candidates_by_what_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "press.yaml").write_text(PRESS, encoding="utf-8")
    file = tmp_path / "pressing.yaml"
    file.write_text(f"{FILE}prior: {{off: =abs(force - 7.8 kN)}}\n", encoding="utf-8")
    none = str(tmp_path / "none.sock")
    asked = ["campaign", "propose", str(file), "--want", "off <= 600 N", "--socket", none, "--json"]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    assert told["possible"]
    assert 7.0 <= told["proposals"][0]["point"]["force"] <= 8.6


def test_a_file_that_does_not_hold_is_told_with_all_its_problems(tmp_path: Path) -> None:
    (tmp_path / "press.yaml").write_text(PRESS, encoding="utf-8")
    file = tmp_path / "pressing.yaml"
    file.write_text(FILE.replace("max: 9 kN", "max: 9 V").replace("minimise", "least"), encoding="utf-8")
    ended = CliRunner().invoke(app, ["campaign", "run", str(file), "--socket", str(tmp_path / "none.sock")])
    assert ended.exit_code == 2
    assert "pressing.yaml:7:15: C103 `least` does not belong here" in ended.output
    assert "pressing.yaml:5:43: C105 V is a voltage, kN a force" in ended.output
