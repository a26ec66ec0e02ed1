"""What is known of a sample while its events are folded, and how it is told in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

Told = dict[str, Any]


_LISTS = ("parts", "masses", "doses", "transfers", "forces", "cycling")


@dataclass(frozen=True, slots=True)
class Stocked:
    """What lies or stands at a place by lab.yaml, for runs whose journal does not say which lot was used."""

    what: str
    lot: str | None = None


@dataclass(slots=True)
class Trace:
    """The sample as far as it is known.

    Args:
        sample: its id.
        stocked: what lab.yaml says of places.
        left: when and by whom it was taken out of the lab.
        lifted: by gripper, the part that it holds for the sample.
        last: by arm, its last pick or place that was done.
        spent: what the stock says was used.
        found: the lists that are told: parts, masses, doses, transfers to elsewhere, forces, cycling, measurements.
    """

    sample: str
    stocked: Mapping[str, Stocked]
    notes: list[Told] = field(default_factory=list)
    runs: dict[str, Told] = field(default_factory=dict)
    place: str | None = None
    left: Told | None = None
    moves: list[Told] = field(default_factory=list)
    actions: dict[str, Told] = field(default_factory=dict)
    lifted: dict[str, Told] = field(default_factory=dict)
    last: dict[str, Told] = field(default_factory=dict)
    spent: list[Told] = field(default_factory=list)
    found: dict[str, list[Told]] = field(default_factory=dict)
    steps: list[Told] = field(default_factory=list)
    questions: dict[str, Told] = field(default_factory=dict)
    remarks: list[Told] = field(default_factory=list)

    def told(self) -> Told:
        lists = {name: self.found.get(name, []) for name in _LISTS}
        for entry in (*lists["parts"], *lists["doses"], *lists["transfers"]):
            self._name(entry)
        measured = self.found.get("measurements", [])
        return {
            "sample": self.sample,
            "place": self.place,
            "fate": self._fate(),
            "runs": list(self.runs.values()),
            **lists,
            "measurements": measured,
            "materials": self.spent,
            "steps": self.steps,
            "intervals": self._intervals(),
            "questions": list(self.questions.values()),
            "moves": self.moves,
            "notes": self.notes,
            "remarks": self.remarks,
        }

    def _name(self, entry: Told) -> None:
        """Says what a part or a dose is and of which lot: as the stock was booked, else as lab.yaml has it."""
        booked = [one for one in self.spent if one["action_id"] in entry["action_ids"] and not one["corrected"]]
        if entry.get("volume") is None:
            booked = [one for one in booked if one["thing"] in (None, "part")]
        else:
            booked = [one for one in booked if one["thing"] in (None, "liquid")]
        if booked:
            entry["what"] = booked[0]["what"] or entry["what"]
            entry["lot"], entry["lot_by"] = booked[0]["lot"], "journal"
            return
        known = self.stocked.get(entry["source"] or "")
        if known is not None:
            entry["what"], entry["lot"], entry["lot_by"] = known.what, known.lot, "lab.yaml"

    def _fate(self) -> Told:
        """What became of it: the outcome of its last run, `under way`, or None while it had none."""
        last = next(reversed(self.runs.values()), None)
        fate: Told = {"outcome": None, "run": None, "because": None, "taken_out": self.left}
        if last is not None:
            outcome = last["outcome"] or "under way"
            fate |= {"outcome": outcome, "run": last["run"], "because": last["cause"]}
        return fate

    def _intervals(self) -> list[Told]:
        """The times between the main steps: from the end of one to the end of the next, and to its order (`waited`).

        From the electrolyte to the crimp is from the first order to dose to the last order to crimp.
        """
        main = [step for step in self.steps if step["kind"] != "other" and step["ended"]]
        pairs = [
            {
                "from": before["kind"],
                "to": after["kind"],
                "from_action": before["action_id"],
                "to_action": after["action_id"],
                "seconds": between(before["ended"], after["ended"]),
                "waited": between(before["ended"], after["sent"]),
            }
            for before, after in pairwise(main)
        ]
        dosed = next((step for step in main if step["kind"] == "dose"), None)
        crimped = next((step for step in reversed(main) if step["kind"] == "crimp"), None)
        if dosed is not None and crimped is not None and dosed["sent"] and crimped["sent"]:
            waited = between(dosed["sent"], crimped["sent"])
            ids = {"from_action": dosed["action_id"], "to_action": crimped["action_id"]}
            pairs.append({"from": "electrolyte", "to": "crimp", **ids, "seconds": waited, "waited": waited})
        return pairs


def between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
