"""Plots of a run and of a batch. Each function gives what draws one on a matplotlib figure, for `save` or `inline`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labd.records.analysis import Curve, Slope
from labd.records.drawing import ALARM, FAINT, INK, shade

Draw = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Group:
    """Values of one figure over cells: its title with the unit, and (sample, value)."""

    title: str
    values: tuple[tuple[str, float], ...]


def voltage_profile(curves: Sequence[Curve]) -> Draw:
    """Voltage over capacity, by cycle; discharges are dashed."""
    last = max((curve.cycle for curve in curves), default=1)

    def draw(figure: Any) -> None:
        figure.set_size_inches(6.0, 3.8)
        axes = figure.subplots()
        for curve in curves:
            dashes = "-" if curve.way == "charge" else "--"
            axes.plot(curve.capacity, curve.voltage, dashes, color=shade(curve.cycle, last), linewidth=1.5)
        _axes(axes, "capacity / mAh", "voltage / V")
        _legend(figure, [(curve.cycle, curve.way) for curve in curves], last)

    return draw


def incremental(slopes: Sequence[Slope]) -> Draw:
    """dQ/dV over voltage, by cycle; of discharges with a minus, dashed."""
    last = max((slope.cycle for slope in slopes), default=1)

    def draw(figure: Any) -> None:
        figure.set_size_inches(6.0, 3.8)
        axes = figure.subplots()
        axes.axhline(0, color=FAINT, linewidth=0.8)
        for slope in slopes:
            way = 1 if slope.way == "charge" else -1
            told = [way * one for one in slope.slope]
            axes.plot(slope.voltage, told, "-" if way > 0 else "--", color=shade(slope.cycle, last), linewidth=1.4)
        _axes(axes, "voltage / V", "dQ/dV / (mAh/V)")
        _legend(figure, [(slope.cycle, slope.way) for slope in slopes], last)

    return draw


def _legend(figure: Any, shown: Sequence[tuple[int, str]], last: int) -> None:
    from matplotlib.lines import Line2D

    cycles = sorted({cycle for cycle, _ in shown})
    lines = [Line2D([], [], color=shade(cycle, last), lw=2, label=f"cycle {cycle}") for cycle in cycles]
    lines += [Line2D([], [], color=INK, lw=1, ls=ls, label=way) for way, ls in (("charge", "-"), ("discharge", "--"))]
    figure.legend(handles=lines, loc="outside upper center", ncols=4)


def capacity_by_cycle(rows: Sequence[Mapping[str, float | None]]) -> Draw:
    """Discharge and charge capacity, and below them the coulombic efficiency, over the cycle."""

    def draw(figure: Any) -> None:
        figure.set_size_inches(6.0, 4.4)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        cycles = [row["cycle"] for row in rows]
        upper.plot(cycles, [row["charge"] for row in rows], "s", color=shade(1, 2), markersize=5, label="charge")
        upper.plot(cycles, [row["capacity"] for row in rows], "o", color=shade(2, 2), markersize=5, label="discharge")
        told = [(row["cycle"], row["ce"]) for row in rows if row["ce"] is not None]
        lower.plot([cycle for cycle, _ in told], [ce for _, ce in told], "D", color=INK, markersize=4)
        _axes(upper, "", "capacity / mAh")
        _axes(lower, "cycle", "efficiency / %")
        _whole_numbers(lower)
        figure.legend(loc="outside upper center", ncols=2)

    return draw


def course(title: str, points: Sequence[tuple[int, float]], best: Sequence[tuple[int, float]]) -> Draw:
    """What each experiment gave, and what the best until then has, over the experiments in the order of their end."""

    def draw(figure: Any) -> None:
        figure.set_size_inches(6.0, 3.2)
        axes = figure.subplots()
        axes.plot(
            [x for x, _ in points], [y for _, y in points], "o", color=shade(1, 2), markersize=5, label="measured"
        )
        axes.step(
            [x for x, _ in best], [y for _, y in best], where="post", color=INK, linewidth=1.5, label="best so far"
        )
        _axes(axes, "experiment", title)
        _whole_numbers(axes)
        figure.legend(loc="outside upper center", ncols=2)

    return draw


def nyquist(
    points: tuple[Sequence[float], Sequence[float]], fitted: tuple[Sequence[float], Sequence[float]] | None, title: str
) -> Draw:
    """-Im(Z) over Re(Z) in Ω, measured and fitted, on equal scales."""

    def draw(figure: Any) -> None:
        figure.set_size_inches(5.4, 4.2)
        axes = figure.subplots()
        real, imag = points
        axes.plot(real, [-one for one in imag], "o", color=shade(2, 2), markersize=4.5, label="measured")
        if fitted is not None:
            axes.plot(fitted[0], [-one for one in fitted[1]], "-", color=ALARM, linewidth=1.4, label="fit")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title, loc="left", fontsize=9.5)
        _axes(axes, "Re(Z) / Ω", "−Im(Z) / Ω")
        figure.legend(loc="outside upper center", ncols=2)

    return draw


def boxes(groups: Sequence[Group]) -> Draw:
    """A box of the quartiles for each figure, with every cell as a point beside its name."""

    def draw(figure: Any) -> None:
        figure.set_size_inches(2.5 * len(groups) + 0.6, 4.0)
        panels = figure.subplots(1, len(groups), squeeze=False)[0]
        for panel, group in zip(panels, groups, strict=True):
            values = [value for _, value in group.values]
            panel.boxplot(values, widths=0.5, showfliers=False, medianprops={"color": INK}, boxprops={"color": FAINT})
            for index, (sample, value) in enumerate(group.values):
                panel.plot(1 + 0.12 * (index % 3 - 1), value, "o", color=shade(2, 2), markersize=4.5)
                panel.annotate(sample, (1.27, value), fontsize=7, color=FAINT, va="center")
            panel.set_xlim(0.6, 1.9)
            panel.set_xticks([])
            panel.set_ylabel(group.title, fontsize=10)

    return draw


def outcomes(counts: Mapping[str, int]) -> Draw:
    """How many cells came to which end, as bars with their numbers."""
    hatches = {
        "complete": "",
        "scrapped": "///",
        "stopped": "...",
        "aborted": "xxx",
        "under way": "--",
        "waiting": "++",
    }

    def draw(figure: Any) -> None:
        figure.set_size_inches(6.0, 0.42 * len(counts) + 1.0)
        axes = figure.subplots()
        names = list(counts)[::-1]
        for name in names:
            good = name == "complete"
            axes.barh(
                name,
                counts[name],
                height=0.6,
                color=shade(2, 2) if good else "white",
                edgecolor=INK,
                hatch=hatches.get(name, "\\\\"),
                linewidth=0.8,
            )
            axes.annotate(f" {counts[name]}", (counts[name], name), va="center")
        axes.set_xlim(0, max([*counts.values(), 1]) * 1.12)
        _whole_numbers(axes)
        _axes(axes, "cells", "")

    return draw


def _axes(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)


def _whole_numbers(axes: Any) -> None:
    """Ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
