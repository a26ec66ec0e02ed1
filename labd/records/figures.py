"""The figures of a run: named numbers with units, for tables, reports, and the objectives of a campaign.

| name | unit | what |
|---|---|---|
| `capacity_N`, `charge_N` | mAh | discharged and charged in cycle N, from 1 on; in a half cell as well |
| `ce_N` | % | coulombic efficiency of cycle N: the second half's charge over the first's |
| `energy_N` | mWh | discharged in cycle N |
| `energy_efficiency_N` | % | of the energies, as `ce_N` |
| `retention_N` | % | `capacity_N` over `capacity_1` |
| `capacity`, `charge`, `ce`, `energy`, `energy_efficiency`, `retention` | | the same of the last complete cycle |
| `cycles` | | complete cycles |
| `rest_charged_N`, `rest_discharged_N` | V | at the end of the rest after a half of cycle N |
| `ocv` | V | at the end of the last rest before the first cycle |
| `r_ohmic_N`, `r_ohmic` | Ω | series resistance of spectrum N, and of the last |
| `r_polarisation_N`, `r_polarisation` | Ω | the sum of its fitted arcs |
| `conductivity_N`, `conductivity` | mS/cm | cell constant over `r_ohmic`; needs the parameter `cell_constant_per_cm` |
| `dose`, `peak_force`, `electrolyte_to_crimp` | µL, kN, s | as in the table of cells |
| `STATE.RESULT` | its own | what an action gave in a state, `form.capacity`; of a list `form.capacities_1` and so on |

Cycles count on over all `cycle` actions of a run, each from its own rows; where a run has none, steps of
`constant_current` and `constant_voltage` are cycles, all rows as one test. A figure that could not be measured is not
there, and never zero: `why` says what kept it. A cycle that was broken off gives none, nor does a spectrum that breaks
Kramers and Kronig.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labd.journal import Analysis, Event, SeriesInfo, SignalStore
from labd.records.analysis import analyse
from labd.records.analyst import Analyst
from labd.records.joined import stepped
from labd.records.record import run_record
from labd.records.results import cell_rows, value_of

CELL_CONSTANT = "cell_constant_per_cm"
"""The parameter of a protocol whose number is the cell constant in 1/cm: conductivity is it over the resistance."""
LAST = ("capacity", "charge", "ce", "energy", "energy_efficiency", "retention")
_HINTS = {"conductivity": f"it takes the run's parameter `{CELL_CONSTANT}`, a positive number"}
_NUMBERED = re.compile(r"(.+?)_(\d+)$")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit (empty for none).

    Args:
        value: the number.
        unit: as the table above says.
        std: a standard deviation, as far as the rows tell one. The instrument's error is not in it, nor by how
            much cells that are made alike differ: it is no noise for an optimiser.
        source: the action that it comes from.
    """

    value: float
    unit: str = ""
    std: float | None = None
    source: str = ""

    def told(self) -> dict[str, Any]:
        """As the journal writes quantities."""
        return {"v": self.value, "u": self.unit, "std": self.std, "source": self.source}


@dataclass(slots=True)
class Figures(Mapping[str, Figure]):
    """The figures of one run, by name.

    Args:
        run, sample: whose.
        outcome: `complete`, `scrapped`, `stopped`, `aborted`; None while it runs.
        failed: why it did not come to its end, in words; None: it did, or still runs.
    """

    run: str
    sample: str
    outcome: str | None = None
    failed: str | None = None
    _known: dict[str, Figure] = field(default_factory=dict)
    _causes: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Figure:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def why(self, name: str) -> str | None:
        """Why a figure is not there, in words; None: it is."""
        if name in self._known:
            return None
        numbered = _NUMBERED.match(name)
        stem = numbered[1] if numbered else name
        cause = self._causes.get(name) or self._causes.get(stem) or _HINTS.get(stem)
        told = [f"{self.run} is {self.failed}"] if self.failed else []
        told += [cause] if cause else []
        if not told and self.outcome is None:
            told = [f"{self.run} has not ended"]
        return "; ".join(told) or f"nothing in {self.run} measured {name}"

    def causes(self) -> dict[str, str]:
        """What was tried and gave no figure, by name, with why."""
        return dict(self._causes)

    def put(self, name: str, value: float | None, unit: str = "", std: float | None = None, source: str = "") -> None:
        """Says a figure, in place of what was said of it before; one that is no finite number is none."""
        self._known.pop(name, None)
        if value is not None and math.isfinite(value):
            told = std if std is not None and math.isfinite(std) else None
            self._known[name] = Figure(float(value), unit, told, source)

    def drop(self, name: str) -> None:
        """Takes a figure away: what came later says that it does not hold."""
        self._known.pop(name, None)

    def lacks(self, name: str, cause: str) -> None:
        """Says why a figure is not there; the first cause counts."""
        self._causes.setdefault(name, cause)


async def figures(events: Iterable[Event], store: SignalStore, analyst: Analyst | None = None) -> Figures:
    """The figures of a run.

    Args:
        events: of the one run, oldest first.
        store: of its samples.
        analyst: who keeps analyses; default: another over the same store.

    Raises:
        SignalError: the store cannot be read.
    """
    own = list(events)
    run = own[0].run if own else None
    if run is None:
        return Figures("", "")
    return await asyncio.to_thread(figures_of, own, await read_run(run, store, analyst or Analyst(store)))


@dataclass(frozen=True, slots=True)
class RunRead:
    """What the series of a run say: each with its analysis; and that of its single steps as one test, see `stepped`."""

    series: tuple[tuple[SeriesInfo, Analysis], ...]
    steps: Mapping[str, Any] | None = None


async def read_run(run: str, store: SignalStore, analyst: Analyst) -> RunRead:
    """Reads, and analyses what is not yet. Raises SignalError."""
    found = await store.series(run=run)
    series = [(info, await analyst.result(info.id)) for info in found]
    joined = await stepped(found, store)
    return RunRead(tuple(series), None if joined is None else await asyncio.to_thread(analyse, joined))


def figures_of(events: Sequence[Event], read: RunRead) -> Figures:
    """The figures of a run from its events and from what its series say. Pure."""
    record = run_record(events)
    found = Figures(str(record["run"]), str(record["sample"]), record["outcome"], _failure(record))
    done = {action["action_id"] for action in record["actions"] if action["outcome"] == "done"}
    for action in record["actions"]:
        if action["action_id"] in done:
            _results(found, action)
    for row in cell_rows(events):
        found.put("dose", row.dose, "µL")
        found.put("peak_force", row.peak_force, "kN")
        found.put("electrolyte_to_crimp", row.electrolyte_to_crimp, "s")
    seen = _Seen(_cell_constant(record))
    driven = [series.id for series, _ in read.series if series.action == "constant_current"]
    for series, kept in read.series:
        if read.steps is not None and series.id == driven[0]:
            seen.take(found, driven[-1], "cycle", read.steps, done=driven[-1] in done)
        seen.take(found, series.id, series.action, kept.result, done=series.id in done)
    seen.close(found)
    return found


def _failure(record: Mapping[str, Any]) -> str | None:
    """`scrapped: too little force`; None for a run that is complete or under way."""
    outcome = record["outcome"]
    if outcome in (None, "complete"):
        return None
    causes = [state["cause"] for state in record["states"] if state.get("cause")]
    cause = record.get("cause") or (causes[-1] if causes else None)
    return f"{outcome}: {cause}" if cause else str(outcome)


def _results(found: Figures, action: Mapping[str, Any]) -> None:
    """What an action gave, by state and name; of several in one state the last one's."""
    for name, told in (action.get("result") or {}).items():
        value = value_of(told)
        unit = str(told.get("u") or "") if isinstance(told, Mapping) else ""
        stem = f"{action['state']}.{name}"
        several = enumerate(value, 1) if isinstance(value, list) else ()
        for full, number in ((stem, value), *((f"{stem}_{index}", one) for index, one in several)):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                found.put(full, number, unit, source=action["action_id"])


def _cell_constant(record: Mapping[str, Any]) -> float | None:
    """The run's parameter `CELL_CONSTANT`, a number, or None."""
    told = (record["parameters"] or {}).get(CELL_CONSTANT)
    return float(told) if isinstance(told, (int, float)) and told > 0 else None


@dataclass(slots=True)
class _Seen:
    """What was seen of a run's series so far. `constant`: of the conductivity cell, 1/cm."""

    constant: float | None
    cycles: int = 0  # those that were broken off included
    whole: int = 0
    spectra: int = 0

    def take(self, found: Figures, source: str, action: str | None, result: Mapping[str, Any], *, done: bool) -> None:
        """Takes what one series says."""
        if result["kind"] == "cycling" and action == "cycle":
            self._cycling(found, source, result, done=done)
        elif result["kind"] == "rest" and action == "open_circuit" and not self.cycles:
            found.put("ocv", result["voltage"], "V", source=source)
        elif result["kind"] == "impedance":
            self._spectrum(found, source, result)

    def _cycling(self, found: Figures, source: str, result: Mapping[str, Any], *, done: bool) -> None:
        told = result.get("cycles") or []
        if result.get("problem"):
            for name in LAST:
                found.lacks(name, f"{source}: {result['problem']}")
        for index, cycle in enumerate(told):
            self.cycles += 1
            if not cycle["complete"] or (index == len(told) - 1 and not done):
                for name in LAST:
                    found.lacks(f"{name}_{self.cycles}", f"cycle {self.cycles} was not completed")
                continue
            self.whole += 1
            self._cycle(found, source, cycle)

    def _cycle(self, found: Figures, source: str, cycle: Mapping[str, Any]) -> None:
        taken, given = (_off(cycle[f"{half}_error"], cycle[f"{half}_sparse"]) for half in ("discharge", "charge"))
        first = found.get("capacity_1")
        retention = 100 * cycle["discharge"] / first.value if first and first.value else None
        values = (
            ("capacity", cycle["discharge"], "mAh", taken),
            ("charge", cycle["charge"], "mAh", given),
            ("ce", cycle["efficiency"], "%", None),
            ("energy", cycle["discharge_energy"], "mWh", _spread(cycle["discharge_energy_sparse"])),
            ("energy_efficiency", cycle["energy_efficiency"], "%", None),
            ("retention", 100.0 if self.cycles == 1 else retention, "%", None),
        )
        for name, value, unit, spread in values:
            found.put(f"{name}_{self.cycles}", value, unit, spread, source)
            found.put(name, value, unit, spread, source)
        found.put(f"rest_charged_{self.cycles}", cycle["rest_after_charge"], "V", source=source)
        found.put(f"rest_discharged_{self.cycles}", cycle["rest_after_discharge"], "V", source=source)

    def _spectrum(self, found: Figures, source: str, result: Mapping[str, Any]) -> None:
        self.spectra += 1
        problem = result.get("problem")
        for suffix in (f"_{self.spectra}", ""):
            if problem:
                for name in ("r_ohmic", "r_polarisation", "conductivity"):
                    found.lacks(name + suffix, f"the spectrum {source} has no fit: {problem}")
                    found.drop(name + suffix)
                continue
            ohmic, std = result["r_ohmic"], result["errors"].get("R0")
            found.put(f"r_ohmic{suffix}", ohmic, "Ω", std, source)
            found.put(f"r_polarisation{suffix}", result["r_polarisation"], "Ω", None, source)
            if self.constant is not None and ohmic > 0:
                kappa = 1000 * self.constant / ohmic
                spread = None if std is None else kappa * std / ohmic
                found.put(f"conductivity{suffix}", kappa, "mS/cm", spread, source)

    def close(self, found: Figures) -> None:
        """What is known only at the end."""
        if not self.cycles:
            for name in LAST:
                found.lacks(name, "the cell was not cycled")
        else:
            found.put("cycles", self.whole)
            for name in LAST:
                found.lacks(name, f"it has {self.cycles} cycles, {self.whole} of them complete")
        if not self.spectra:
            for name in ("r_ohmic", "r_polarisation", "conductivity"):
                found.lacks(name, "no impedance was measured")


def _off(digit: float | None, sparse: float) -> float | None:
    """The standard deviation of a charge; None where the rows tell none: values without a last decimal, rows close."""
    return _spread(math.hypot(digit or 0.0, sparse)) if digit is not None or sparse > 0 else None


def _spread(error: float | None) -> float | None:
    """The standard deviation of what lies anywhere within an error."""
    return None if error is None else error / math.sqrt(3)
