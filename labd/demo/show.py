"""What the demo shows while it runs, and at its end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from labd import clock
from labd.journal import Event
from labd.lab.bus import Alarm, DeviceState, Happening, RunState, SignalsRead
from labd.records.results import CellRow
from labd.sdk.units import plain

REFRESH = 0.15  # s of the machine's time between two frames
COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}
SHOWN = ("voltage", "force", "gripped", "tip_attached")


class Show:
    """Follows a lab's bus and journal: a live page on a terminal, a line for each turn of events elsewhere."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._devices: dict[str, DeviceState] = {}
        self._signals: dict[str, SignalsRead] = {}
        self._runs: dict[str, RunState] = {}
        self._alarms: dict[str, Alarm] = {}
        self._said: deque[Text] = deque(maxlen=8)
        self._real0 = self._drawn = time.perf_counter()
        self._lab0: float | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> Self:
        self._lab0 = clock.monotonic()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def hear(self, happening: Happening) -> None:
        """Listens to the bus."""
        match happening:
            case DeviceState():
                before = self._devices.get(happening.device)
                self._devices[happening.device] = happening
                if happening.health != "ok" and (before is None or before.health == "ok") and before:
                    self.say(f"{happening.device} is {happening.health}: {happening.problem}", "yellow")
            case SignalsRead():
                self._signals[happening.device] = happening
            case RunState():
                self._runs[happening.run] = happening
            case Alarm():
                self._alarms[happening.id] = happening
        self.draw()

    def read(self, events: Sequence[Event]) -> None:
        """Listens to the journal's commits."""
        for event in events:
            told = _TELL.get(event.kind)
            text = told(event) if told else None
            if text:
                self.say(f"{event.run}  {text}", _STYLES.get(event.kind, ""), at=event.at)

    def say(self, text: str, style: str = "", at: str | None = None) -> None:
        """One line of what happened."""
        line = Text.assemble((f"{(at or clock.stamp())[11:19]}  ", "dim"), (text, style))
        if self._live:
            self._said.append(line)
        else:
            self._console.print(line, soft_wrap=True)

    def draw(self) -> None:
        """Draws a frame, unless the last one is too young."""
        if self._live and time.perf_counter() - self._drawn > REFRESH:
            self._drawn = time.perf_counter()
            self._live.update(self._page(), refresh=True)

    def _page(self) -> RenderableType:
        lab = clock.monotonic() - (self._lab0 or 0.0)
        real = max(time.perf_counter() - self._real0, 1e-3)
        head = f"lab time {lab / 3600:5.2f} h   machine time {real:4.1f} s   {lab / real:,.0f}-fold"
        alarms = [Text(alarm.text, "red") for alarm in self._alarms.values() if not alarm.ended]
        said = Panel(Group(*self._said), title="what happened", border_style="dim")
        return Group(Text(head, "bold"), self._device_table(), self._run_table(), *alarms, said)

    def _device_table(self) -> Table:
        table = Table(title="devices", expand=True)
        for column in ("device", "health", "works for", "reads"):
            table.add_column(column)
        for name, state in self._devices.items():
            read = self._signals.get(name)
            values = [
                f"{key} {_value(value.v, value.u)}"
                for key, value in (read.values.items() if read else ())
                if key in SHOWN and value.v is not None
            ]
            works = ", ".join(run for run in state.busy_with)
            table.add_row(name, Text(state.health, COLOURS[state.health]), works, "  ".join(values))
        return table

    def _run_table(self) -> Table:
        table = Table(title="runs", expand=True)
        for column in ("run", "sample", "PackML", "state", "progress", "why"):
            table.add_column(column)
        for run in self._runs.values():
            why = run.question["text"] if run.question else run.outcome or run.cause or ""
            style = "yellow" if run.question or run.state == "Held" else ""
            bar = ProgressBar(total=1.0, completed=run.progress, width=20)
            table.add_row(run.run, run.sample, run.state, run.protocol_state or "", bar, Text(str(why)[:60], style))
        return table


def _value(value: object, unit: str) -> str:
    return plain(value, unit) if isinstance(value, float) and unit else str(value)


def _quantity(data: object) -> str:
    return plain(data["v"], data["u"]) if isinstance(data, dict) and data.get("v") is not None else "?"


def _moved(event: Event) -> str | None:
    return f"{event.data['sample']}: {event.data['from']} → {event.data['to']}" if event.data["from"] else None


_TELL: dict[str, Callable[[Event], str | None]] = {
    "protocol.entered": lambda e: f"enters {e.data['state']}  {' '.join(e.data['bindings'].values())}",
    "question.asked": lambda e: f"asks: {e.data['text']}  [{' | '.join(e.data['choices'])}]",
    "question.answered": lambda e: f"{e.data['by']} answers: {e.data['choice']}",
    "action.unknown": lambda e: f"unknown outcome of {e.data['action_id']}: {e.data['message']}",
    "action.failed": lambda e: f"{e.data['action_id']} failed: {e.data['message']}",
    "action.refused": lambda e: f"refused: {e.data['message']}",
    "run.ended": lambda e: f"ended: {e.data['outcome']}",
    "sample.moved": _moved,
}
_STYLES = {"question.asked": "yellow", "action.unknown": "red", "action.failed": "red", "run.ended": "green"}


def table_of(rows: Sequence[CellRow]) -> Table:
    """The result: a row a cell."""
    cycles = max((len(row.capacities) for row in rows), default=0)
    caption = "Q: discharge capacity of each formation cycle; CE: discharge over charge"
    table = Table(title="What came out", caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    heads = ["cell", "dose\nµL", "force\nkN", "OCV\nmV", *(f"Q{n + 1}\nmAh" for n in range(cycles))]
    for head in [*heads, "CE 1\n%", f"CE {cycles}\n%", "wet to\ncrimp, s", "outcome"]:
        table.add_column(head, justify="left" if head in ("cell", "outcome") else "right", no_wrap=True)
    for row in rows:
        missing = [None] * (cycles - len(row.capacities))
        table.add_row(
            row.sample,
            _cell(row.dose, "g"),
            _cell(row.peak_force, ".2f"),
            _cell(row.ocv and row.ocv * 1e3, ".1f"),
            *(_cell(value, ".3f") for value in [*row.capacities, *missing]),
            _cell(next(iter(row.coulombic_efficiencies), None), ".1f"),
            _cell(next(reversed(row.coulombic_efficiencies), None), ".1f"),
            _cell(row.electrolyte_to_crimp, ".0f"),
            Text(str(row.outcome), "green" if row.outcome == "complete" else "yellow"),
        )
    return table


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
