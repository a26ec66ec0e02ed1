"""Dry runs told: outcomes, times, states that nobody saw, what was asked, and what was used."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labd.sdk.units import plain
from labd.simulate.story import Asked, Story

MOST = 6  # different answers to a question up to which they are told one by one: choices, not values


@dataclass(frozen=True, slots=True)
class Summary:
    """Many dry runs of one protocol.

    Args:
        protocol, lab, seed: which.
        stories: the runs, by their seeds.
        never: the states that no run entered.
    """

    protocol: str
    lab: str
    seed: int
    stories: Sequence[Story]
    never: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """For programs: times in seconds, volumes in µL."""
        return {
            "protocol": self.protocol,
            "lab": self.lab,
            "seed": self.seed,
            "runs": len(self.stories),
            "outcomes": {name: _spread([s.seconds for s in of]) for name, of in self._by_outcome().items()},
            "causes": {name: dict(_counts(s.cause for s in of if s.cause)) for name, of in self._by_outcome().items()},
            "never_visited": list(self.never),
            "questions": [
                {"text": one.text, "times": one.times, "answers": dict(one.answers)} for one in self._questions()
            ],
            "actions": dict(_summed(story.actions for story in self.stories)),
            "volumes": {name: _spread(found) for name, found in self._volumes().items()},
            "faults": dict(_summed(story.faults for story in self.stories)),
            "tips": _spread([story.tips for story in self.stories]),
        }

    def _by_outcome(self) -> dict[str, list[Story]]:
        found: dict[str, list[Story]] = {}
        for story in self.stories:
            found.setdefault(story.outcome, []).append(story)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def _questions(self) -> list[Asked]:
        found: dict[str, Asked] = {}
        for step, one in ((step, one) for story in self.stories for step, one in story.questions.items()):
            before = found.get(step, Asked(one.text, 0))
            answers = dict(_summed((before.answers, one.answers)))
            found[step] = Asked(before.text, before.times + one.times, answers)
        return sorted(found.values(), key=lambda one: -one.times)

    def _volumes(self) -> dict[str, list[float]]:
        names = sorted({name for story in self.stories for name in story.volumes})
        return {name: [story.volumes.get(name, 0.0) for story in self.stories] for name in names}

    def lines(self) -> Iterator[str]:
        """The same for people."""
        whole = len(self.stories)
        yield f"{whole} dry run{'s' if whole != 1 else ''} of {self.protocol} in {self.lab}, seed {self.seed}"
        yield ""
        yield f"{'outcome':<12}{'runs':>6}{'least':>14}{'median':>14}{'90 of 100':>14}{'greatest':>14}"
        for outcome, stories in self._by_outcome().items():
            times = _spread([story.seconds for story in stories])
            told = "".join(f"{duration(times[key]):>14}" for key in ("least", "median", "p90", "greatest"))
            yield f"{outcome:<12}{len(stories):>6}{told}"
            for cause, count in _counts(story.cause for story in stories if story.cause):
                yield f"  {count} × {cause}"
        yield ""
        yield f"states never visited: {', '.join(self.never) or 'none'}"
        for one in self._questions():
            answers = ", ".join(f"{choice} {count}" for choice, count in one.answers.items())
            yield f"asked {one.times} ×: {one.text}{f' [{answers}]' if answers and len(one.answers) < MOST else ''}"
        yield from self._used()

    def _used(self) -> Iterator[str]:
        for name, found in self._volumes().items():
            spread = _spread(found)
            ends = f"{plain(spread['least'], 'µL')} to {plain(spread['greatest'], 'µL')}"
            yield f"{name}: {plain(spread['median'], 'µL')} a run ({ends}), {plain(sum(found), 'µL')} in all"
        tips = [story.tips for story in self.stories]
        if any(tips):
            yield f"tips: {statistics.median(tips):g} a run ({min(tips)} to {max(tips)})"
        actions = ", ".join(f"{name} {count}" for name, count in _summed(story.actions for story in self.stories))
        if actions:
            yield f"actions in all: {actions}"
        faults = ", ".join(f"{name} {count}" for name, count in _summed(story.faults for story in self.stories))
        if faults:
            yield f"faults in all: {faults}"


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "runs": len(ordered),
        "least": ordered[0],
        "median": statistics.median(ordered),
        "p90": ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
        "greatest": ordered[-1],
    }


def _counts(texts: Any) -> list[tuple[str, int]]:
    return Counter(texts).most_common()


def _summed(counts: Any) -> list[tuple[str, int]]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return found.most_common()


def duration(seconds: float) -> str:
    """`3 min 20 s`, `5 h 12 min`, `2 d 3 h`."""
    whole = round(seconds)
    for big, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= big:
            first, rest = divmod(whole, big)
            second = rest // small
            return f"{first} {names[0]} {second} {names[1]}" if second else f"{first} {names[0]}"
    return f"{seconds:.3g} s"


def never_visited(states: Mapping[str, object], stories: Sequence[Story]) -> list[str]:
    """The states of a protocol that no run entered, in its order."""
    seen = {state for story in stories for state in story.states}
    return [state for state in states if state not in seen]
