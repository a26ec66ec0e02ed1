"""Campaigns in a lab of toys whose daemon is killed and started at will."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from labd.campaign.campaign import Campaign
from labd.campaign.checker import plan_of
from labd.campaign.engine import Campaigns
from labd.campaign.state import Experiment
from labd.protocol import compiled, load
from tests.run.site import PromptJournal, Site
from tests.run.world import REAL, fresh

PRESS = """\
labd: 1
protocol: press
version: 1.0.0
summary: Press one cell.
parameters:
  force: {type: quantity, default: 7.8 kN, min: 1 kN, max: 10 kN}
  dwell: {type: quantity, default: 2 s, min: 1 s, max: 10 s}
roles: {press: crimper}
start: crimp
states:
  crimp:
    do: press.crimp
    with: {force: =force, dwell: =dwell}
    within: 1 h
    as: pressed
    next:
      - {if: force > 9.5 kN, go: torn}
      - {go: done}
  done: {end: complete}
  torn: {end: scrapped}
results:
  off: =abs(pressed.peak_force - force)
  dwell: =pressed.dwell
"""
FILE = """\
labd: 1
campaign: pressing
summary: Find the force that the press reaches.
space:
  force: {type: quantity, min: 2 kN, max: 9 kN, step: 0.1 kN}
objectives:
  off: {goal: minimise, unit: N}
protocol: press
parameters: {force: =force}
batch: 2
budget: {cells: 3}
optimiser: random
"""


class Rough(PromptJournal):
    """A journal that can also be cut off just before a commit: `before` counts as `fuse` does."""

    before = 0

    def _commit_now(self) -> None:
        if self.before:
            self.before -= 1
            if not self.before:
                self.cut()
                return
        super()._commit_now()


@contextlib.contextmanager
def lab(path: Path) -> Iterator[Lab]:
    """A lab with one press, at work; its daemon ends with the block."""

    async def at_once(work: Any, *args: Any, **more: Any) -> Any:
        return work(*args, **more)

    path.mkdir(parents=True, exist_ok=True)
    fresh()
    with (
        mock.patch("tests.run.site.PromptJournal", Rough),
        mock.patch("asyncio.to_thread", at_once),
        mock.patch("labd.campaign.checker.plan_of", _plan_once),
        mock.patch("labd.run.planning.serial.BUDGET", 0),  # the first plan is good enough
        mock.patch("labd.run.reading.load", _load_once),
        mock.patch("labd.run.taking_up.load", _load_once),
        mock.patch("labd.run.queue.submitting.load", _load_once),
        mock.patch("labd.protocol.machine.machine.compiled", _compiled_once),
    ):
        found = Lab(path)
        try:
            yield found
        finally:
            found.close()


_PLANS: dict[tuple[str, str], Any] = {}


_LOADED: dict[str, Any] = {}
_COMPILED: dict[str, Any] = {}


def _load_once(text: str, *more: Any) -> Any:
    if text not in _LOADED:
        _LOADED[text] = load(text, *more)
    return _LOADED[text]


def _compiled_once(protocol: Any, facts: Any = None) -> Any:
    if protocol.text not in _COMPILED:
        _COMPILED[protocol.text] = compiled(protocol, facts)
    return _COMPILED[protocol.text]


def _plan_once(source: str, name: str, facts: Any, texts: Any) -> Any:
    """Each file is checked once, as each protocol is read once: that is not what these tests are about."""
    if (source, texts.source) not in _PLANS:
        _PLANS[source, texts.source] = plan_of(source, name, facts, texts)
    return _PLANS[source, texts.source]


class Lab:
    """One lab, its daemon and its campaigns."""

    def __init__(self, path: Path) -> None:
        self.site = Site(path, {"press": "press"}, REAL, deck=[])
        self.task: asyncio.Task[None] | None = None
        self.campaigns: Campaigns
        self.up()

    @property
    def journal(self) -> Any:
        return self.site.journal

    def up(self) -> None:
        self.site.up(waits_for=["press"])
        self.campaigns = Campaigns(self.site.engine)
        self.task = self.site.loop.create_task(self.campaigns.run(), name="campaigns")
        self.site.drive(self.campaigns.ready.wait(), 60.0)

    def kill(self) -> None:
        if self.site.journal is not None:
            self.site.journal.cut()
        if self.task is not None:
            self.task.cancel()
            self.site.loop.run_until_complete(asyncio.wait({self.task}, timeout=5.0))
        self.site.kill()

    def close(self) -> None:
        if not self.site.loop.is_closed():
            self.kill()
            self.site.close()

    def drive(self, work: Any, limit: float = 3600.0) -> Any:
        assert self.task is not None
        if self.task.done() and not self.journal.cut_off.is_set():
            self.task.result()
        return self.site.drive(work, limit)

    def start(self, text: str = FILE, protocol: str = PRESS, request: str | None = None) -> Campaign:
        work = self.campaigns.start(text, "pressing.yaml", protocol, "press.yaml", {}, by="eva", request=request)
        found: Campaign = self.drive(work, 60)
        return found

    def until_over(self, name: str = "pressing", *, settled: bool = True) -> Campaign:
        """Lets time pass until it has ended, or is paused, and nothing of it is at work any more."""
        campaign = self.campaigns.find(name)

        async def over() -> None:
            while campaign.record.state == "working" or (settled and campaign.record.of("running")):
                await asyncio.sleep(1.0)

        self.drive(over())
        return campaign

    def let(self, seconds: float) -> None:
        self.drive(asyncio.sleep(seconds), seconds + 5.0)

    def events(self, *kinds: str) -> list[Any]:
        found: list[Any] = self.drive(self.journal.events(kinds=set(kinds)), 10.0)
        return found


def points(ones: list[Experiment]) -> list[dict[str, Any]]:
    return [dict(one.point) for one in ones]
