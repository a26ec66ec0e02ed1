"""What the demo shows while it runs, and at its end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
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
WIDE = 130  # columns from which devices and runs stand side by side
MOST_SAID = 12  # lines of what happened
SHOWN = ("voltage", "force", "gripped", "tip_attached")


class Show:
    """Follows a lab's bus and journal: a live page on a terminal, a line for each turn of events elsewhere."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._devices: dict[str, DeviceState] = {}
        self._signals: dict[str, SignalsRead] = {}
        self._runs: dict[str, RunState] = {}
        self._alarms: dict[str, Alarm] = {}
        self._said: deque[Text] = deque(maxlen=MOST_SAID)
        self._drawn = time.perf_counter()
        self._began: tuple[datetime, float] | None = None  # lab's time and machine's
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> Self:
        self._start()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def _start(self) -> tuple[datetime, float]:
        if self._began is None:
            self._began = clock.now(), time.perf_counter()
        return self._began

    def hear(self, happening: Happening) -> None:
        """Listens to the bus."""
        self._start()
        match happening:
            case DeviceState():
                before = self._devices.get(happening.device)
                self._devices[happening.device] = happening
                if happening.health != "ok" and before is not None and before.health == "ok":
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
                at = datetime.fromisoformat(event.at)
                self.say(f"{event.run}  {text.rstrip()}", _STYLES.get(event.kind, ""), at)

    def say(self, text: str, style: str = "", at: datetime | None = None) -> None:
        """One line of what happened, with the lab's time since the beginning."""
        since = elapsed(((at or clock.now()) - self._start()[0]).total_seconds())
        line = Text.assemble((f"{since}  ", "dim"), (text, style))
        if self._live:
            line.no_wrap, line.overflow = True, "ellipsis"
            self._said.append(line)
        else:
            self._console.print(line, soft_wrap=True)

    def draw(self) -> None:
        """Draws a frame, unless the last one is too young."""
        if self._live and time.perf_counter() - self._drawn > REFRESH:
            self._drawn = time.perf_counter()
            self._live.update(self.page(), refresh=True)

    def page(self) -> RenderableType:
        """All of it, within the terminal's height: a page that is longer could not be drawn over."""
        wall0, real0 = self._start()
        lab, real = (clock.now() - wall0).total_seconds(), max(time.perf_counter() - real0, 1e-3)
        head = f"lab time {elapsed(lab).strip()}   machine time {real:.1f} s   {lab / real:,.0f}-fold"
        alarms = [Text(alarm.text, "red", no_wrap=True) for alarm in self._alarms.values() if not alarm.ended]
        tables: RenderableType
        if self._console.width >= WIDE:
            tables = Table.grid(expand=True, padding=(0, 4, 0, 0))
            tables.add_row(self._device_table(), self._run_table())
            rows = max(len(self._devices), len(self._runs)) + 1
        else:
            tables = Group(self._device_table(), self._run_table())
            rows = len(self._devices) + len(self._runs) + 2
        room = self._console.height - 1 - (1 + rows + len(alarms))
        parts: list[RenderableType] = [Text(head, "bold", no_wrap=True), tables, *alarms]
        if room > MOST_SAID + 2:
            parts[1:1] = [""]
            parts.append("")
        return Group(*parts, *list(self._said)[-max(room, 1) :])

    def _device_table(self) -> Table:
        table = _table("device", "health", "works for", "reads")
        for name, state in self._devices.items():
            read = self._signals.get(name)
            values = [
                f"{key.replace('_', ' ')} {_value(value.v, value.u)}"
                for key, value in (read.values.items() if read else ())
                if key in SHOWN and value.v is not None
            ]
            works = ", ".join(state.busy_with)
            table.add_row(name, Text(state.health, COLOURS[state.health]), works, "  ".join(values))
        return table

    def _run_table(self) -> Table:
        table = _table("run", "sample", "PackML", "state", "progress", "why")
        for run in self._runs.values():
            why = run.question["text"] if run.question else run.outcome or run.cause or ""
            style = "yellow" if run.question or run.state == "Held" else ""
            bar = ProgressBar(total=1.0, completed=run.progress, width=12)
            table.add_row(run.run, run.sample, run.state, run.protocol_state or "", bar, Text(str(why), style))
        return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table


def elapsed(seconds: float) -> str:
    """`0:01:22`, hours first, in a column that holds four days."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    return f"{minutes // 60:2}:{minutes % 60:02}:{rest:02}"


def _value(value: object, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
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
