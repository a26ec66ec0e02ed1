"""What is known of samples beside their runs: barcodes, active masses, and what people said of them.

It is the fold of the journal's `sample.registered` and `sample.noted`, and of which samples runs have worked on: the
name of one of those is nobody's barcode, registered or not. Each sample also keeps which events outside its runs speak
of it, so that nothing of the journal need be searched for them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labd.journal import Event, Journal, NewEvent
from labd.sdk import UnitError, units

SAMPLES = frozenset({"sample.registered", "sample.noted"})
"""The kinds of events that say what a sample is."""

BESIDE = frozenset({"stock.spent", "stock.corrected", "sample.moved"})
"""The kinds of events that may speak of a sample without belonging to one of its runs."""

NAMED = frozenset({"run.started", "sample.moved"})
"""The kinds of events that name a sample which nobody need have registered."""

LONGEST_BARCODE = 128
NAME = re.compile(r"[a-z0-9_-]{1,64}")
_CAPACITY = re.compile(r"specific[ _]capacity\s*(?:[\[(](?P<unit>[^\])]+)[\])]|/\s*(?P<per>\S+))?", re.IGNORECASE)
GIVEN = re.compile(r"cell-\d+|batch-\d+-\d+x*")
"""The names that labd gives to samples which have none."""


class SampleError(Exception):
    """What cannot be said of a sample; the text says why and how to mend it."""


class UnknownSampleError(Exception):
    """There is no such sample."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What was said of a sample, the latest of each.

    Args:
        sample: its id.
        barcode: what stands on it, as a scanner reads it.
        active_mass: g of the material that gives its capacity.
        about: whatever else was said, by name; `specific_capacity` (`160 mAh/g`) gives C-rates.
        at, by: when and by whom it was registered first.
    """

    sample: str
    barcode: str | None = None
    active_mass: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    at: str | None = None
    by: str | None = None

    @property
    def specific_capacity(self) -> float | None:
        """mAh/g, where `about` has it with its unit, in the value or in the name as a table's header has it."""
        for name, value in self.about.items():
            parts = _CAPACITY.fullmatch(name)
            if parts is None:
                continue
            unit = parts["unit"] or parts["per"]
            text = f"{value} {unit}" if unit and not isinstance(value, Mapping) else value
            return None if isinstance(text, (int, float)) else quantity_in(text, "mAh/g")
        return None


@dataclass(frozen=True, slots=True)
class Noted:
    """What is to be said of a sample: only what is in `changes` (barcode, active_mass in g, about) is touched."""

    changes: Mapping[str, Any]
    note: str | None = None


@dataclass(slots=True)
class Samples:
    """The samples of a lab by id and by barcode."""

    _known: dict[str, Registered] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)  # all that there ever were, registered or not
    _owners: dict[str, str] = field(default_factory=dict)  # barcode -> sample
    _claimed: dict[str, str] = field(default_factory=dict)  # barcodes on their way into the journal
    _beside: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _journal: Journal | None = None

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────
    def registered(self, sample: str) -> Registered | None:
        """What was said of a sample, or None."""
        return self._known.get(sample)

    def by_barcode(self, code: str) -> str | None:
        """The sample that carries a barcode."""
        return self._owners.get(code.strip())

    def active_mass(self, sample: str) -> float | None:
        """g, or None where nobody said it."""
        known = self._known.get(sample)
        return known.active_mass if known is not None else None

    def specific_capacity(self, sample: str) -> float | None:
        """mAh/g, or None where nobody said it."""
        known = self._known.get(sample)
        return known.specific_capacity if known is not None else None

    def called(self, text: str) -> str:
        """The id of the sample that an id or a barcode means; what is neither is given back as an id.

        The id of a sample is its own, also where it stands as a barcode on another.
        """
        text = text.strip()
        return text if text in self._named else self._owners.get(text, text)

    def every(self) -> tuple[str, ...]:
        """The ids of all registered samples, in the order of their registration."""
        return tuple(self._known)

    def beside(self, sample: str) -> tuple[int, ...]:
        """The numbers of the events outside runs that speak of it, oldest first."""
        return tuple(self._beside.get(sample, ()))

    def problem(self, sample: str, barcode: str) -> str | None:
        """Why a sample may not carry a barcode, in words, or None."""
        code = barcode.strip()
        if not code or len(code) > LONGEST_BARCODE or not code.isprintable():
            return f"barcode {barcode[:40]!r}: write 1 to {LONGEST_BARCODE} printable characters"
        owner = self._owners.get(code) or self._claimed.get(code)
        if owner is not None and owner != sample:
            return f"barcode {code!r} of {sample} is on {owner} already; scan the right one, or correct {owner} first"
        if code != sample and (code in self._named or GIVEN.fullmatch(code)):
            return f"barcode {code!r} of {sample} is the name of another sample; give it another code"
        return None

    # ── saying ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def note(self, sample: str, said: Noted, *, by: str) -> Registered:
        """Registers a sample, or corrects what was said of it; durable when this returns.

        Raises:
            SampleError: a name or a barcode that cannot be, a mass that is none, or the daemon is starting.
        """
        if self._journal is None:
            raise SampleError("the daemon is starting; say it again in a moment")
        changes = self._checked(sample, said)
        code = changes.get("barcode")
        data: dict[str, Any] = {"sample": sample, **changes, "by": by}
        if sample in self._known:
            kind, data = "sample.noted", {**data, "note": said.note}
        else:
            kind, data = "sample.registered", {"barcode": None, "active_mass": None, "about": {}, **data}
            if said.note is not None:
                data["about"] = {**data["about"], "note": said.note}
        if code is not None:
            self._claimed[code] = sample
        try:
            await self._journal.append(NewEvent(kind, data))
        finally:
            self._claimed.pop(code or "", None)
        return self._known[sample]

    def _checked(self, sample: str, said: Noted) -> dict[str, Any]:
        if not NAME.fullmatch(sample):
            raise SampleError(f"sample {sample!r}: write one to 64 of a-z, 0-9, - and _, or a barcode that is known")
        owner = self._owners.get(sample)
        if owner not in (None, sample) and sample not in self._named:
            raise SampleError(f"{sample} is the barcode of {owner}; give the new sample another name")
        changes = dict(said.changes)
        barcode = changes.get("barcode")
        if barcode is not None:
            problem = self.problem(sample, barcode)
            if problem is not None:
                raise SampleError(problem)
            changes["barcode"] = barcode.strip()
        mass = changes.get("active_mass")
        if mass is not None and not (math.isfinite(mass) and mass > 0):
            raise SampleError(f"active mass of {sample}: {mass:g} g is no mass; write such as '12.3 mg'")
        capacity = (changes.get("about") or {}).get("specific_capacity")
        if capacity is not None and not (quantity_in(capacity, "mAh/g") or 0) > 0:
            raise SampleError(f"specific_capacity of {sample}: {capacity!r} is none; write such as '160 mAh/g'")
        if not changes and said.note is None and sample in self._known:
            raise SampleError(
                f"nothing is said of {sample}: give a barcode, an active mass, a note or something about it"
            )
        return changes

    # ── the fold ─────────────────────────────────────────────────────────────────────────────────────────────────
    def take_up(self, journal: Journal, past: Iterable[Event]) -> Callable[[], None]:
        """Folds the journal's events and listens for more; call what it gives to end that."""
        self.fold(past)
        self._journal = journal
        return journal.on_commit(self.fold)

    def fold(self, events: Iterable[Event] | Sequence[Event]) -> None:
        """Takes events in, in their order; those of other kinds are passed over."""
        for event in events:
            if event.kind in SAMPLES:
                self._say(event)
                continue
            if event.kind in NAMED and event.data.get("sample"):
                self._named.add(str(event.data["sample"]))
            if event.kind in BESIDE and event.run is None and event.data.get("sample"):
                self._beside[str(event.data["sample"])].append(event.seq)

    def _say(self, event: Event) -> None:
        data = event.data
        sample = str(data["sample"])
        known = self._known.get(sample) or Registered(sample, at=event.at, by=data.get("by"))
        again = event.kind == "sample.registered"  # a row of another table: what it does not say stays
        if "barcode" in data and not (again and data["barcode"] is None):
            known = self._labelled(known, data["barcode"])
        if "active_mass" in data and not (again and data["active_mass"] is None):
            known = replace(known, active_mass=quantity_in(data["active_mass"], "g"))
        about = {**known.about, **(data.get("about") or {})}
        self._known[sample] = replace(known, about={name: value for name, value in about.items() if value is not None})
        self._named.add(sample)
        self._beside[sample].append(event.seq)

    def _labelled(self, known: Registered, code: str | None) -> Registered:
        """Another code, or none; one that another sample carries stays there."""
        if code is not None and self._owners.get(code, known.sample) != known.sample:
            return known
        if known.barcode is not None:
            self._owners.pop(known.barcode, None)
        if code is not None:
            self._owners[code] = known.sample
        return replace(known, barcode=code)


def quantity_in(value: Any, unit: str) -> float | None:
    """A number in a unit, from a bare number, a text or `{"v", "u"}`; None where it is none."""
    try:
        if isinstance(value, str):
            read = units.parse(value)
            return units.convert(read.value, read.unit, unit)
        if isinstance(value, Mapping):
            return units.convert(float(value["v"]), str(value["u"]), unit)
        return None if value is None else float(value)
    except (UnitError, KeyError, TypeError, ValueError):
        return None
