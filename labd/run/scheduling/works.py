"""From runs and jobs to what the planner plans: their works, and the bench as it is now."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from labd.files import InputErrors
from labd.files.library import Library
from labd.lab.lab import Lab
from labd.protocol import LabFacts, Protocol, bind_parameters, compiled, load
from labd.protocol.program import Program
from labd.run.facts import facts_of
from labd.run.lifecycle import PAUSED
from labd.run.planning.model import Bench, Work
from labd.run.planning.site import Site, site_of, unit_name
from labd.run.planning.tasks import Recipes
from labd.run.queue import Job
from labd.run.reservations import Reservations
from labd.run.run import Run
from labd.run.scheduling.visits import Visits
from labd.run.shipped import library

KEPT = 64  # protocols that are kept compiled

Texts: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A protocol's text, and those that it calls, by name."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be planned now.

    Args:
        works, bench: for the planner.
        shut: by unit, why nobody can have it.
        unreadable: jobs that do not hold in this lab any more.
    """

    works: tuple[Work, ...]
    bench: Bench
    shut: Mapping[str, str]
    unreadable: frozenset[str] = frozenset()

    def shut_for(self, work: Work) -> list[str]:
        """Why a work cannot have all that it needs."""
        needs: Counter[str] = Counter()
        for task in work.tasks[len(work.begun) :]:
            needs |= Counter(task.roles)
        found: dict[str, None] = {}
        for kind, count in needs.items():
            units = self.bench.units.get(kind, ())
            if sum(unit not in self.shut for unit in units) < count:
                found |= dict.fromkeys(self.shut[unit] for unit in units if unit in self.shut)
        return list(found)


@dataclass(slots=True)
class Works:
    """Makes works of the runs and jobs of one lab.

    Args:
        lab: with its places.
        reservations: who has which unit.
        visits: the states that runs have been in.
        recipes: with the times that were learnt.
    """

    lab: Lab
    reservations: Reservations
    visits: Visits
    recipes: Recipes = field(default_factory=Recipes)
    _site: Site | None = None
    _programs: dict[Texts, tuple[Protocol, Program]] = field(default_factory=dict)

    async def of(
        self, runs: Iterable[Run], jobs: Sequence[Job], now: float, names: Callable[[str], str] = str
    ) -> Planned:
        """What is to be planned.

        Args:
            runs: all that are at work.
            names: what the plan calls a run: the job that it was, so that one name stays from the queue to its end.
            jobs: those that were not started, in the order of the queue.
            now: of the lab's monotonic clock.
        """
        await self._compile(jobs)
        moving = [run for run in runs if not run.over and run.lifecycle.at not in PAUSED]
        site = self.site
        works = [self._of_run(run, names(run.id), site, now) for run in moving]
        found = {job.id: self._of_job(job, site) for job in jobs}
        works += [work for work in found.values() if work is not None]
        samples = {run.sample for run in moving} | {job.sample for job in jobs}
        shut = self._shut({run.id for run in moving}, samples)
        unreadable = frozenset(name for name, work in found.items() if work is None)
        return Planned(tuple(works), Bench(site.bench.units, dict.fromkeys(shut, math.inf)), shut, unreadable)

    @property
    def site(self) -> Site:
        """The lab as it is configured."""
        if self._site is None:
            self._site = site_of(self.lab)
            self.recipes.places = self._site.places
        return self._site

    # ── works ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _of_run(self, run: Run, name: str, site: Site, now: float) -> Work:
        machine = run.machine
        past, at = self.visits.of(run.id), self._at(run.sample, site)
        work = self.recipes.work(
            name, machine.protocol, machine.program, machine.parameters, past=past, home=run.home, at=at, ready=now
        )
        return replace(work, ready=now + _still(work, now))

    def _of_job(self, job: Job, site: Site) -> Work | None:
        known = self._programs.get(_key(job))
        if known is None:
            return None
        protocol, program = known
        try:
            values = bind_parameters(protocol, job.parameters)
        except InputErrors:
            return None  # its start tells why
        home = job.position or ""
        return self.recipes.work(
            job.id, protocol, program, values, home=home, at=self._at(job.sample, site), priority=job.priority
        )

    def _at(self, sample: str, site: Site) -> dict[str, str]:
        """The unit that has a sample or a part for it, by kind of device."""
        places = (self.lab.places.place_of(sample), self.lab.places.part_of(sample))
        units = (place for place in places if place is not None and place in site.places)
        return {site.places[place]: site.unit_at[place] for place in units}

    async def _compile(self, jobs: Sequence[Job]) -> None:
        """Protocols that were not seen before, in a thread: a long one takes a second."""
        facts = None
        wanted = {_key(job): job for job in jobs}
        for key in [key for key in self._programs if key not in wanted][: max(0, len(self._programs) - KEPT)]:
            del self._programs[key]
        for key, job in wanted.items():
            if key in self._programs:
                continue
            facts = facts or facts_of(self.lab)
            program = await asyncio.to_thread(_compiled, job, facts)
            if program is not None:  # one that does not hold may do so tomorrow
                self._programs[key] = program

    # ── the bench ────────────────────────────────────────────────────────────────────────────────────────────────
    def _shut(self, moving: set[str], samples: set[str]) -> dict[str, str]:
        """The units that nobody can have for now, and why: down, barred, or with what no planned run takes out."""
        shut: dict[str, str] = {}
        for device in self.lab.devices.values():
            barred = self.lab.barriers.reason_for((device.id,))
            for unit in device.driver.units:
                name = unit_name(device.id, unit)
                holder = self.reservations.holder(device.id, unit)
                place = self.lab.place_of(device, unit)
                inside = {self.lab.places.sample_at(place), self.lab.places.part_for(place)} if place else set()
                left = sorted(one for one in inside - samples if one is not None)
                if barred is not None:
                    shut[name] = barred
                elif not device.connected:
                    shut[name] = f"{device.id} is down: {device.problem}"
                elif holder is not None and holder not in moving:
                    shut[name] = f"{name} is with {holder}, which stands still"
                elif left:
                    shut[name] = f"{name} holds {', '.join(left)}"
        return shut


def _still(work: Work, now: float) -> float:
    """How much longer a state is expected to last that has lasted too long already, s: as long again."""
    if not work.begun or work.begun[-1].end is not None:
        return 0.0
    return max(0.0, now - work.begun[-1].start - work.tasks[len(work.begun) - 1].duration)


def _key(job: Job) -> Texts:
    """The same for all jobs of a batch, whose texts are the same objects: compared at once, and hashed only once."""
    return job.source, tuple(sorted(job.called.items()))


def _compiled(job: Job, facts: LabFacts) -> tuple[Protocol, Program] | None:
    """None where it does not hold: that is told when it is started."""
    try:
        protocol = load(job.source, job.name, library().under(Library(job.called)))
        return protocol, compiled(protocol, facts)
    except InputErrors:
        return None
