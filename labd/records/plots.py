"""Plots of the cells of a lab as PNG and SVG: for a screen and for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labd.records.drawing import ALARM, FAINT, INK, PlotError, save, shade
from labd.records.results import CellRow, Profile


def voltage_profiles(profiles: Sequence[Profile], stem: Path) -> list[Path]:
    """Voltage over capacity, a panel a cell, all on the same axes; discharges are dashed. Gives the files written.

    Raises:
        PlotError: matplotlib is missing, or there are no cells.
    """
    if not profiles:
        raise PlotError("there are no cells to plot")

    def draw(figure: Any) -> None:
        columns = min(4, len(profiles))
        rows = -(-len(profiles) // columns)
        width = max(2.6 * columns + 0.7, 5.6)
        figure.set_size_inches(width, 2.35 * rows + 1.0)
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        cycles = max((half.cycle for profile in profiles for half in profile.halves), default=1)
        for panel, profile in zip(axes.flat, profiles, strict=False):
            _profile(panel, profile, cycles)
        for panel in axes.flat[len(profiles) :]:
            panel.set_visible(False)
        figure.supxlabel("capacity / mAh", fontsize=10.5)
        figure.supylabel("voltage / V", fontsize=10.5)
        if any(profile.halves for profile in profiles):
            handles = _profile_legend(cycles)
            figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), int(width / 1.1)))

    return save(draw, stem)


def _profile(panel: Any, profile: Profile, cycles: int) -> None:
    row = profile.row
    dose = f"  {row.dose:g} µL" if row.dose is not None else ""
    panel.set_title(f"{row.sample}{dose}", loc="left", fontsize=10, fontweight="bold")
    for half in profile.halves:
        dashes = "-" if half.charging else "--"
        panel.plot(half.capacity, half.voltage, dashes, color=shade(half.cycle, cycles), linewidth=1.5)
    if row.outcome not in (None, "complete"):
        panel.text(0.98, 0.04, str(row.outcome), transform=panel.transAxes, ha="right", color=ALARM, fontsize=9)
    if not profile.halves:
        panel.text(0.5, 0.5, "not cycled", transform=panel.transAxes, ha="center", va="center", color=FAINT)


def _profile_legend(cycles: int) -> list[Any]:
    from matplotlib.lines import Line2D

    shown = range(1, cycles + 1) if cycles <= 5 else (1, cycles // 2, cycles)
    lines = [Line2D([], [], color=shade(cycle, cycles), lw=2, label=f"cycle {cycle}") for cycle in shown]
    charge = Line2D([], [], color=INK, lw=1, ls="-", label="charge")
    return [*lines, charge, Line2D([], [], color=INK, lw=1, ls="--", label="discharge")]


def capacity_against_dose(rows: Sequence[CellRow], stem: Path) -> list[Path]:
    """Discharge capacity over the dose of electrolyte, of the first and the last cycle. Gives the files written.

    Cells that were dosed but not cycled stand as crosses at the foot.

    Raises:
        PlotError: matplotlib is missing, or no cell was dosed.
    """
    dosed = [row for row in rows if row.dose is not None]
    if not dosed:
        raise PlotError("no cell was dosed: there is nothing to plot against")
    cycled = [row for row in dosed if row.capacities]
    others = [row for row in dosed if not row.capacities]

    def draw(figure: Any) -> None:
        figure.set_size_inches(6.4, 4.2)
        axes = figure.subplots()
        _draw_cycled(axes, cycled)
        _draw_not_cycled(axes, others)
        doses = [row.dose for row in dosed if row.dose is not None]
        beside = max(0.1 * (max(doses) - min(doses)), 2.0)
        axes.set_xlim(min(doses) - beside, max(doses) + beside)
        if cycled:
            axes.margins(y=0.22)
        else:
            axes.set_yticks([])
        axes.set_xlabel("electrolyte dose / µL", fontsize=10.5)
        axes.set_ylabel("discharge capacity / mAh", fontsize=10.5)
        figure.legend(loc="outside upper center", ncols=3)

    return save(draw, stem)


def _draw_cycled(axes: Any, rows: Sequence[CellRow]) -> None:
    """Squares for the first cycle and discs for the last, joined for each cell."""
    if not rows:
        return
    doses = [row.dose for row in rows]
    cycles = max(len(row.capacities) for row in rows)
    for row in rows:
        ends = (row.capacities[0], row.capacities[-1])
        axes.plot([row.dose] * 2, ends, color="#cbd0d6", linewidth=1.2, zorder=1)
        axes.annotate(row.sample, (row.dose, min(ends)), (0, -14), textcoords="offset points", ha="center", **_SMALL)
    if cycles > 1:
        firsts = [row.capacities[0] for row in rows]
        axes.scatter(doses, firsts, 42, color=shade(1, 2), marker="s", label="cycle 1", zorder=3)
    lasts = [row.capacities[-1] for row in rows]
    last = "last cycle" if len({len(row.capacities) for row in rows}) > 1 else f"cycle {cycles}"
    axes.scatter(doses, lasts, 50, color=shade(2, 2), label=last, zorder=3)


def _draw_not_cycled(axes: Any, rows: Sequence[CellRow]) -> None:
    """Crosses at the foot of the plot."""
    if not rows:
        return
    foot = axes.get_xaxis_transform()
    axes.scatter(
        [row.dose for row in rows], [0.03] * len(rows), 40, color=ALARM, marker="x", transform=foot, label="not cycled"
    )
    for row in rows:
        told = f"{row.sample}, {row.outcome}" if row.outcome else row.sample
        here = {"xycoords": foot, "textcoords": "offset points", "ha": "center"}
        axes.annotate(told, (row.dose, 0.03), (0, 8), **here, **_SMALL)


_SMALL: dict[str, Any] = {"fontsize": 8, "color": FAINT}
