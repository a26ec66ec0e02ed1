"""The inventory after a kill at any commit: what the world says, and the fold of the journal."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from labd.journal import Event
from labd.lab.inventory import READ, Stock, stock_of
from labd.sdk import Call, FlowRate, Place, Source, Volume
from labd.sdk.roles import NewTip, TransferResult
from tests.run.pipetting import DECK, ToyRobot
from tests.run.site import DeadError, Site, in_haste
from tests.run.world import REAL, WORLD, Real, fresh

BUILD = """\
labd: 1
protocol: build
version: 1.0.0
summary: Two doses and a lid.
roles: {robot: pipetting_robot, arm: arm}
start: dose
states:
  dose:
    summary: Dose it.
    steps:
      - do: robot.transfer
        with: {source: LP57, destination: =sample.position, volume: 15 µL}
      - do: robot.transfer
        with: {source: LP57, destination: robot/2/B1, volume: 10 µL}
    next: lid
  lid:
    summary: Lay a lid on it.
    steps:
      - do: arm.pick
        with: {place: tray/lids/A1}
      - do: arm.place
        with: {place: =sample.position}
    next: done
  done: {end: complete}
"""
COMMITS = 60  # more than one run has


class RealRobot(Real, ToyRobot):
    """It doses in the world."""

    async def transfer(
        self,
        call: Call,
        source: Source,
        destination: Place,
        volume: Volume,
        new_tip: NewTip = "always",
        flow_rate: FlowRate | None = None,
        mix_after: int = 0,
    ) -> TransferResult:
        tip = f"robot/1/{'ABCDEFGH'[WORLD.effects['tips']]}1"
        WORLD.effects["tips"] += 1
        WORLD.effects[source] += int(volume)
        WORLD.effects[destination] += int(volume)
        result = TransferResult(volume=volume, source=source, destination=destination, tip=tip)
        return await WORLD.act(call, "robot.transfer", 5.0, result)  # type: ignore[no-any-return]


async def runs(site: Site) -> list[str]:
    return [state.run for state in site.engine.known()]


def killed_at(path: Path, commit: int) -> tuple[Stock, list[Event], bool]:
    """One run whose daemon is killed at a commit, and started again; the stock at the end, and its journal."""
    fresh()
    site = Site(path, {"robot": "robot", "arm": "arm"}, {**REAL, "robot": RealRobot}, DECK)
    try:
        dead = False
        with contextlib.suppress(DeadError):
            site.up(waits_for=("robot", "arm"), fuse=commit)
            run = site.drive(site.bench.start(BUILD), 100.0)
            site.drive(site.engine.wait(run), 1000.0)
        if site.journal is not None and site.journal.cut_off.is_set():
            dead = True
            site.kill()
            site.up(waits_for=("robot", "arm"))
            known = site.drive(runs(site), 10.0)
            run = known[0] if known else site.drive(site.bench.start(BUILD), 100.0)
            site.drive(site.engine.wait(run), 1000.0)
        stock = site.lab.inventory.stock
        return stock, site.drive(site.bench.journal.events(kinds=READ), 10.0), dead
    finally:
        site.close()


def test_whenever_the_daemon_is_killed_the_book_says_what_the_world_says(tmp_path: Path) -> None:
    died = 0
    with in_haste():
        for commit in range(1, COMMITS):
            stock, events, dead = killed_at(tmp_path / str(commit), commit)
            assert stock == stock_of(events), commit
            vial, blend = stock.wells["robot/2/A1"], stock.wells["robot/2/B1"]
            assert vial.volume == pytest.approx(1100.0 - WORLD.effects["robot/2/A1"]), commit
            assert blend.volume == pytest.approx(WORLD.effects["robot/2/B1"]), commit
            assert 96 - len(stock.racks["robot/1"]) == WORLD.effects["tips"] == 2, commit
            assert "tray/lids/A1" not in stock.parts, commit
            assert (len(stock.parts), stock.doubts, stock.held, stock.reserved) == (7, {}, {}, {}), commit
            assert came(events) == pytest.approx(went(events) + vial.volume), commit
            died += dead
            if not dead:
                break
    assert died > 8


def came(events: list[Event]) -> float:
    """µL of LP57 that were put into the first vial."""
    return sum(of(event) for event in events if event.kind == "stock.loaded")


def went(events: list[Event]) -> float:
    return sum(of(event) for event in events if event.kind == "stock.spent")


def of(event: Event) -> float:
    data: dict[str, Any] = event.data
    return float(data["amount"]) if data["thing"] == "liquid" and data["place"] == "robot/2/A1" else 0.0
