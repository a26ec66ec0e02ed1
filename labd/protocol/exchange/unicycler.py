"""`labd import unicycler`: a cycling protocol of aurora-unicycler as a protocol of labd.

What labd cannot say is an error where it changes what is done to the cell. Where it changes only what is recorded, it
is a warning and stands in the protocol's head.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from labd.expr import did_you_mean
from labd.files import InputErrors, Path, Problem, Source
from labd.files.commented import Document, Noted, tree_of
from labd.protocol.exchange.layout import laid_out, written
from labd.protocol.exchange.unicycler_file import (
    VERSIONS,
    ConstantCurrent,
    ConstantVoltage,
    Impedance,
    Loop,
    OpenCircuit,
    Tag,
    UnicyclerFile,
    VoltageScan,
    read_unicycler,
    told,
)
from labd.protocol.model import NAME

LONGEST = 100 * 3600.0
"""s; ends a step whose file gives no time and no capacity to reckon one from."""
MARGIN = 1.5
"""Of the time in which a step's current, or the one at which it ends, moves the whole capacity."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A protocol's text, and what of the file it does not say."""

    text: str
    warnings: tuple[Problem, ...]


def imported(text: str, file: str, protocol: str | None = None) -> Imported:
    """A unicycler file's text as a protocol's.

    Args:
        text: JSON.
        file: what messages call the file; without `protocol`, the protocol is named after it.
        protocol: its name.

    Raises:
        InputErrors: with all that is wrong with the file, or that labd cannot say.
    """
    given, source = read_unicycler(text, file)
    translator = _Translator(given, source)
    name = protocol or _name(file)
    tree = translator.protocol(name)
    if translator.problems:
        raise InputErrors(translator.problems)
    version = f" (aurora-unicycler {given.unicycler.version})" if given.unicycler.version else ""
    head = [f"# Imported from {PurePath(file).name}{version}."]
    head += [f"# Note: {problem.message}." for problem in translator.warnings]
    document = Document(tree_of(tree), [" ".join(line.split()) for line in head])
    return Imported(laid_out(written(document), file), tuple(translator.warnings))


def _name(file: str) -> str:
    """A protocol's name from that of a file."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", PurePath(file).stem).strip("_")[:60] or "cycling"
    return name if re.fullmatch(NAME, name) else f"p_{name}"


def _figure(value: float) -> str:
    return f"{value:.10g}"


def _seconds(value: float) -> str:
    """A duration in the largest unit that it is a whole number of."""
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size and value % size == 0:
            return f"{_figure(value / size)} {unit}"
    return f"{_figure(value)} s"


def _hertz(value: float) -> str:
    return f"{_figure(value / 1000)} kHz" if value >= 1000 else f"{_figure(value)} Hz"


def _margin(hours: float) -> str:
    """The time limit of a step that should take so many hours, in whole minutes."""
    return _seconds(math.ceil(round(hours * MARGIN * 60, 6)) * 60.0)


@dataclass(slots=True)
class _Stretch:
    """What the method's steps from `first` to `last` are in labd: one step, or a repeat. `tags` stand before it."""

    first: int
    last: int
    step: Noted
    tags: tuple[str, ...] = ()


def _listed(stretches: list[_Stretch]) -> list[Noted]:
    """The steps, with their tags as comments above them."""
    for stretch in stretches:
        stretch.step.notes = (*stretch.tags, *stretch.step.notes)
    return [stretch.step for stretch in stretches]


@dataclass(slots=True)
class _Translator:
    given: UnicyclerFile
    source: Source
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _made: Counter[str] = field(default_factory=Counter)
    _uses_capacity: bool = False

    def protocol(self, name: str) -> dict[str, Any]:
        self._record()
        steps = self._steps()
        steps.append(Noted({"do": "cycler.cell_off"}))
        tree: dict[str, Any] = {
            "labd": 1,
            "protocol": name,
            "version": "1.0.0",
            "summary": f"Cycle a cell as {PurePath(self.source.name).name} says.",
        }
        if self._uses_capacity:
            capacity = self.given.sample.capacity_mAh
            known = {"default": f"{_figure(capacity)} mAh"} if capacity else {}
            tree["parameters"] = {
                "capacity": {"type": "quantity", **known, "min": "1 µAh", "summary": "what C-rates are of"}
            }
        tree["roles"] = {"cycler": "potentiostat"}
        tree["start"] = "measure"
        measure: dict[str, Any] = {"summary": "The method, step by step.", "steps": steps, "next": "done"}
        tree["states"] = {"measure": measure}
        if watch := self._watch():
            measure["watch"] = watch
            off = {"summary": "A limit was passed.", "do": "cycler.cell_off", "next": "scrap"}
            tree["states"] |= {"unsafe": off}
        tree["states"]["done"] = {"end": "complete"}
        if watch:
            tree["states"]["scrap"] = {"end": "scrapped"}
        return tree

    # ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────
    def _refuse(self, message: str, path: Path, mend: str = "") -> None:
        self.problems.append(self.source.problem("P602", f"{told(path)}: {message}", path, mend))

    def _warn(self, message: str, path: Path) -> None:
        found = self.source.problem("P602", f"{told(path)}: {message}", path)
        self.warnings.append(
            Problem(found.code, found.message, found.file, found.line, found.column, found.source, severity="warning")
        )

    def _record(self) -> None:
        version = self.given.unicycler.version
        if version and not version.startswith(tuple(f"{known}." for known in VERSIONS)):
            self._warn(f"{version} is a version that this labd was not tried with", ("unicycler", "version"))
        for key in ("voltage_V", "current_mA"):
            if getattr(self.given.record, key) is not None:
                self._warn("labd keeps a row each interval, not by the change of a value", ("record", key))

    # ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _watch(self) -> list[dict[str, str]]:
        safety = self.given.safety
        if safety.max_capacity_mAh is not None:
            mend = "give the steps an `until_time_s`, and delete it"
            self._refuse("labd cannot watch over a capacity", ("safety", "max_capacity_mAh"), mend)
        limits = (
            ("voltage", ">", safety.max_voltage_V, "V"),
            ("voltage", "<", safety.min_voltage_V, "V"),
            ("current", ">", safety.max_current_mA, "mA"),
            ("current", "<", safety.min_current_mA, "mA"),
        )
        delay = {"for": _seconds(safety.delay_s)} if safety.delay_s else {}
        return [
            {"if": f"cycler.{signal} {sign} {_figure(limit)} {unit}", **delay, "go": "unsafe"}
            for signal, sign, limit, unit in limits
            if limit is not None
        ]

    # ── the method ───────────────────────────────────────────────────────────────────────────────────────────────
    def _steps(self) -> list[Noted]:
        done: list[_Stretch] = []
        tags: dict[str, int] = {}
        names: list[str] = []
        for number, step in enumerate(self.given.method):
            path: Path = ("method", number)
            if isinstance(step, Tag):
                if step.tag in tags:
                    self._refuse(f"the tag `{step.tag}` stands twice", (*path, "tag"), "name one of them otherwise")
                tags[step.tag] = number
                names.append(" ".join(step.tag.split()))
            elif isinstance(step, Loop):
                self._loop(step, path, done, tags)
            else:
                done.append(_Stretch(number, number, self._technique(step, path), tuple(names)))
                names = []
        if not done:
            self._refuse("there is no step that does something", ("method",))
        return _listed(done)

    def _loop(self, step: Loop, path: Path, done: list[_Stretch], tags: dict[str, int]) -> None:
        number = int(path[-1])
        place: Path = (*path, "loop_to")
        target = self._target(step, place, number, tags)
        if target is None:
            return
        while target < number and isinstance(self.given.method[target], Tag):
            target += 1
        inside = [stretch for stretch in done if stretch.last >= target]
        if not inside:
            self._refuse("the loop goes back to no step that does something", place)
        elif inside[0].first != target:
            mend = "loops stand one inside the other, or one after the other: nest them, or write the steps out"
            self._refuse("the loop goes back into the middle of another one, which `repeat` cannot say", place, mend)
        elif step.cycle_count > 1:
            del done[-len(inside) :]
            tagged, inside[0].tags = inside[0].tags, ()
            repeat = Noted({"repeat": {"times": step.cycle_count}, "steps": _listed(inside)})
            done.append(_Stretch(target, number, repeat, tagged))

    def _target(self, step: Loop, place: Path, number: int, tags: dict[str, int]) -> int | None:
        """The place in the method that a loop goes back to, from 0."""
        if isinstance(step.loop_to, int):
            if step.loop_to <= number:
                return step.loop_to - 1
            self._refuse(f"the loop goes to step {step.loop_to}, which is not before it", place, "loops go back")
            return None
        if step.loop_to not in tags:
            mend = did_you_mean(step.loop_to, tags) or "put a tag before the first step of the loop"
            self._refuse(f"no step before the loop has the tag `{step.loop_to}`", place, mend)
        return tags.get(step.loop_to)

    def _technique(self, step: object, path: Path) -> Noted:
        match step:
            case OpenCircuit():
                with_ = {"duration": _seconds(step.until_time_s), "interval": self._interval}
                return self._do("open_circuit", with_, "rest")
            case ConstantCurrent():
                return self._constant_current(step)
            case ConstantVoltage():
                return self._constant_voltage(step)
            case Impedance():
                return self._impedance(step, path)
            case VoltageScan():
                mend = "labd has cyclic voltammetry, which comes back to its start; write that by hand"
                self._refuse("labd has no sweep that goes one way", path, mend)
        return Noted()

    def _do(self, action: str, with_: dict[str, Any], name: str, note: str = "") -> Noted:
        self._made[name] += 1
        step = Noted({"do": f"cycler.{action}", "with": with_, "as": f"{name}{self._made[name]}"})
        step.notes = (note,) if note else ()
        return step

    @property
    def _interval(self) -> str:
        return _seconds(self.given.record.time_s)

    def _current(self, rate: float | None, current: float | None) -> tuple[str, float | None]:
        """A current, by rate where the capacity is or will be known; and the hours in which it moves the capacity."""
        capacity = self.given.sample.capacity_mAh
        if rate and (capacity or not current):
            self._uses_capacity = True
            hours = 1 / abs(rate)
            if math.isclose(hours, round(hours), rel_tol=1e-5) and hours > 0.5:
                return f"={'-' if rate < 0 else ''}capacity / {round(hours)} h", hours
            return f"={_figure(rate)} * capacity / 1 h", hours
        assert current
        return f"{_figure(current)} mA", capacity / abs(current) if capacity else None

    def _until_time(self, given: float | None, hours: float | None) -> tuple[dict[str, str], str]:
        """The time limit, and a note where it is not the file's."""
        if given:
            return {"until_time": _seconds(given)}, ""
        if hours is None:
            return {"until_time": _seconds(LONGEST)}, f"the file gives no time limit: {_seconds(LONGEST)}"
        told_by = f"the file gives no time limit: {_figure(MARGIN)} times what the whole capacity takes"
        return {"until_time": _margin(hours)}, told_by

    def _constant_current(self, step: ConstantCurrent) -> Noted:
        current, hours = self._current(step.rate_C, step.current_mA)
        with_: dict[str, Any] = {"current": current}
        if step.until_voltage_V:
            with_["until_voltage"] = f"{_figure(step.until_voltage_V)} V"
        limit, note = self._until_time(step.until_time_s, hours)
        with_ |= {**limit, "interval": self._interval}
        charges = "-" not in current[:2]
        return self._do("constant_current", with_, "charge" if charges else "discharge", note)

    def _constant_voltage(self, step: ConstantVoltage) -> Noted:
        with_: dict[str, Any] = {"voltage": f"{_figure(step.voltage_V)} V"}
        hours = None
        if step.until_rate_C or step.until_current_mA:
            least = abs(step.until_current_mA or 0) or None
            with_["until_current"], hours = self._current(abs(step.until_rate_C or 0), least)
        limit, note = self._until_time(step.until_time_s, hours)
        with_ |= {**limit, "interval": self._interval}
        return self._do("constant_voltage", with_, "hold", note)

    def _impedance(self, step: Impedance, path: Path) -> Noted:
        if step.amplitude_mA is not None:
            mend = "give it an `amplitude_V`"
            self._refuse("labd measures impedance with an amplitude in V", (*path, "amplitude_mA"), mend)
        if step.measures_per_point > 1:
            self._warn("labd measures each frequency as its instrument does", (*path, "measures_per_point"))
        if step.drift_correction:
            self._warn("labd does not correct for drift", (*path, "drift_correction"))
        low, high = sorted((step.start_frequency_Hz, step.end_frequency_Hz))
        with_: dict[str, Any] = {
            "f_max": _hertz(high),
            "f_min": _hertz(low),
            "points_per_decade": step.points_per_decade,
        }
        if step.amplitude_V is not None:
            with_["amplitude"] = f"{_figure(step.amplitude_V * 1000)} mV"
        return self._do("impedance", with_, "impedance")
