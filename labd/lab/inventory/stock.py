"""What is in stock, as the fold of the journal's `stock.*` events: pure, and the same live as after a restart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labd.journal import Event, NewEvent
from labd.lab.inventory.needs import Needs, needs_of

NOTHING = 1e-6
"""µL; less than that is rounding."""

UNKNOWN = "unknown"
"""The material of which more was drawn than anybody had told of; and the lot that nobody told, beside others."""


@dataclass(frozen=True, slots=True)
class Portion:
    """A share of a well, µL: one material of one lot. A well that was filled from others has several."""

    material: str
    lot: str | None
    amount: float
    expires: dt.date | None = None

    def told(self) -> dict[str, Any]:
        expires = self.expires.isoformat() if self.expires else None
        return {"material": self.material, "lot": self.lot, "amount": self.amount, "expires": expires}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Portion:
        expires = dt.date.fromisoformat(told["expires"]) if told.get("expires") else None
        return cls(told["material"], told["lot"], float(told["amount"]), expires)


@dataclass(slots=True)
class Well:
    """The liquid at a place, µL. One that ran dry, or was emptied, is known still."""

    portions: list[Portion] = field(default_factory=list)
    dead: float = 0.0

    @property
    def volume(self) -> float:
        return sum(portion.amount for portion in self.portions)

    @property
    def usable(self) -> float:
        """What can be drawn."""
        return max(0.0, self.volume - self.dead)

    @property
    def material(self) -> str | None:
        """What protocols call it; None for a mixture, and where nothing is."""
        names = {portion.material for portion in self.portions}
        return names.pop() if len(names) == 1 else None

    @property
    def name(self) -> str:
        """For people: `EC + DMC`."""
        return " + ".join(dict.fromkeys(portion.material for portion in self.portions))

    @property
    def lot(self) -> str | None:
        """For people; None where nobody told any: `L-1 + unknown`."""
        lots = dict.fromkeys(portion.lot or UNKNOWN for portion in self.portions)
        return " + ".join(lots) if set(lots) - {UNKNOWN} else None

    @property
    def expires(self) -> dt.date | None:
        """The first day on which a part of it is good no more, less one."""
        return min((portion.expires for portion in self.portions if portion.expires), default=None)

    def expired(self, today: dt.date) -> bool:
        return self.expires is not None and self.expires < today

    def share(self, amount: float) -> list[Portion]:
        """What a volume drawn from it is made of."""
        volume = self.volume
        if volume <= NOTHING:
            return []
        return [replace(one, amount=one.amount * amount / volume) for one in self.portions if one.amount > 0]

    def add(self, portions: Iterable[Portion], sign: float = 1.0) -> None:
        """Adds to it (or, with sign -1, takes from it); what is used up keeps its name and lot."""
        for portion in portions:
            for number, own in enumerate(self.portions):
                if (own.material, own.lot, own.expires) == (portion.material, portion.lot, portion.expires):
                    left = own.amount + sign * portion.amount
                    self.portions[number] = replace(own, amount=left if left > NOTHING else 0.0)
                    break
            else:
                self.portions.append(replace(portion, amount=max(0.0, sign * portion.amount)))
        used_up = [one for one in self.portions if one.amount == 0]
        if len(used_up) < len(self.portions):
            self.portions = [one for one in self.portions if one.amount > 0]


@dataclass(frozen=True, slots=True)
class Piece:
    """One part, with its lot where that was told."""

    name: str
    lot: str | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """What an action may have taken of which nobody knows whether it happened."""

    place: str
    amount: float
    run: str | None
    action: str


@dataclass(slots=True)
class Stock:
    """All that is in stock.

    Args:
        entries: what lab.yaml said of each place when that was taken over; of loose parts under "parts".
        wells: liquids by place.
        parts: single parts by place; `known` are all places where one has lain.
        racks: tips that are left, by the place of the rack.
        loose: parts on no tray, by name.
        held: what each gripper holds.
        doubts: by action id.
        reserved: what jobs and runs still need, by their ids.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    wells: dict[str, Well] = field(default_factory=dict)
    parts: dict[str, Piece] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    racks: dict[str, set[str]] = field(default_factory=dict)
    loose: dict[str, int] = field(default_factory=dict)
    held: dict[str, Piece] = field(default_factory=dict)
    doubts: dict[str, Doubt] = field(default_factory=dict)
    reserved: dict[str, Needs] = field(default_factory=dict)

    def apply(self, event: Event | NewEvent) -> None:
        """Takes one event in; of a kind that is not in READ nothing."""
        act = _ACTS.get(event.kind)
        if act is not None:
            act(self, event.data, event.run)

    def doubted(self, place: str) -> float:
        """µL that may be gone from a place."""
        return sum(doubt.amount for doubt in self.doubts.values() if doubt.place == place)


def stock_of(events: Iterable[Event]) -> Stock:
    """The fold, oldest first."""
    stock = Stock()
    for event in events:
        stock.apply(event)
    return stock


# ── what comes and goes ──────────────────────────────────────────────────────────────────────────────────────────
def _portions(data: Mapping[str, Any]) -> list[Portion]:
    return [Portion.of(told) for told in data["portions"]]


def _loaded(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    place = data["place"]
    match data["thing"]:
        case "entry":
            stock.entries[place] = data["entry"]
        case "liquid":
            well = stock.wells.setdefault(place, Well())
            well.add(_portions(data))
            well.dead = float(data["dead"])
            _sure(stock, place)
        case "part":
            for at in data["wells"]:
                stock.parts[at] = Piece(data["name"], data["lot"])
                stock.known.add(at)
        case "tips":
            stock.racks.setdefault(place, set()).update(data["wells"])
        case "loose":
            stock.loose[place] = stock.loose.get(place, 0) + int(data["amount"])


def _unloaded(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    place = data["place"]
    match data["thing"]:
        case "entry":
            stock.entries.pop(place, None)
        case "liquid":
            stock.wells[place] = Well()
            _sure(stock, place)
        case "part":
            for at in data["wells"]:
                stock.parts.pop(at, None)
                stock.held.pop(at, None)
        case "tips":
            stock.racks.setdefault(place, set()).difference_update(data["wells"])
        case "loose":
            stock.loose[place] = max(0, stock.loose.get(place, 0) - int(data["amount"]))


def _counted(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    """What a person has found there, in place of what was believed."""
    place = data["place"]
    match data["thing"]:
        case "liquid":
            stock.wells.setdefault(place, Well()).portions = _portions(data)
            _sure(stock, place)
        case "part":
            was = [] if data.get("also") else [at for at in stock.parts if at == place or at.startswith(f"{place}/")]
            for at in was:  # what another lot has left there was said just before
                del stock.parts[at]
            for at in data["wells"]:
                stock.parts[at] = Piece(data["name"], data["lot"])
                stock.known.add(at)
        case "tips":
            stock.racks[place] = set(data["wells"])
        case "loose":
            stock.loose[place] = int(data["amount"])


def _spent(stock: Stock, data: Mapping[str, Any], run: str | None) -> None:
    place = data["place"]
    stock.doubts.pop(data["action_id"] or "", None)
    match data["thing"]:
        case "liquid":
            stock.wells.setdefault(place, Well()).add(_portions(data), -1.0)
            if data["fills"]:
                stock.wells.setdefault(data["to"], Well()).add(_portions(data))
        case "part":
            for at in data["wells"]:
                piece = stock.parts.pop(at, None)
                if piece is not None and data["held"]:
                    stock.held[data["to"]] = piece
        case "tips":
            stock.racks.setdefault(place, set()).difference_update(data["wells"])
    own = stock.reserved.get(run or "")
    if own is not None and run is not None:
        stock.reserved[run] = own.less(data)


def _moved(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    """A gripper has set down what it held: on another part, or back on a tray."""
    piece = stock.held.pop(data["place"], None)
    if piece is not None and data["lies"]:
        stock.parts[data["to"]] = piece
        stock.known.add(data["to"])


def _corrected(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    """More or less was there than was believed; or what was in doubt is settled."""
    stock.doubts.pop(data["action_id"] or "", None)
    if data["thing"] == "liquid" and data["portions"]:
        stock.wells.setdefault(data["place"], Well()).add(_portions(data))


def _doubted(stock: Stock, data: Mapping[str, Any], run: str | None) -> None:
    stock.doubts[data["action_id"]] = Doubt(data["place"], float(data["amount"]), run, data["action"])


def _sure(stock: Stock, place: str) -> None:
    """A person has looked at a place: nothing is in doubt there."""
    for action_id in [key for key, doubt in stock.doubts.items() if doubt.place == place]:
        del stock.doubts[action_id]


# ── what is reserved ─────────────────────────────────────────────────────────────────────────────────────────────
def _submitted(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    for job in data["jobs"]:
        stock.reserved[job["job"]] = needs_of(job.get("needs"))


def _job_started(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    own = stock.reserved.pop(data["job"], None)
    if own is not None:
        stock.reserved.setdefault(data["run"], own)


def _job_over(stock: Stock, data: Mapping[str, Any], _: str | None) -> None:
    stock.reserved.pop(data["job"], None)


def _run_started(stock: Stock, data: Mapping[str, Any], run: str | None) -> None:
    if data.get("needs") is not None and run is not None:
        stock.reserved[run] = needs_of(data["needs"])


def _run_ended(stock: Stock, _: Mapping[str, Any], run: str | None) -> None:
    stock.reserved.pop(run or "", None)


_ACTS: dict[str, Callable[[Stock, Mapping[str, Any], str | None], None]] = {
    "stock.loaded": _loaded,
    "stock.unloaded": _unloaded,
    "stock.counted": _counted,
    "stock.spent": _spent,
    "stock.moved": _moved,
    "stock.corrected": _corrected,
    "stock.doubted": _doubted,
    "batch.submitted": _submitted,
    "job.started": _job_started,
    "job.cancelled": _job_over,
    "run.started": _run_started,
    "run.ended": _run_ended,
}

READ = frozenset(_ACTS)
"""The kinds of events that the fold reads."""

ENTRIES = frozenset(kind for kind in _ACTS if kind.startswith("stock."))
"""The stock's own."""
