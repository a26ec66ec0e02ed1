"""What a campaign looks for, and what it knows: the words that optimisers and the loop share.

All values are plain numbers in the unit that the campaign's file names for them; a categorical dimension's value is its
level's name. A point is flat: the parts of a mixture stand in it under their own names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Point = Mapping[str, float | str]
"""One setting of every dimension: `{"EC": 0.3, "EMC": 0.7, "molality": 1.1, "salt": "LiPF6"}`."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two bounds; with a step only multiples of it above `low` (what the lab can dose)."""

    name: str
    low: float
    high: float
    unit: str = ""
    step: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several levels. Descriptors (numbers of equal length and meaning) tell how alike levels are."""

    name: str
    levels: tuple[str, ...]
    descriptors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares that sum to `total`; each part has bounds of its own, and a part that is used at all at least `least`."""

    name: str
    parts: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    total: float = 1.0
    step: float | None = None
    least: float = 0.0


Dimension = Range | Choice | Mixture


@dataclass(frozen=True, slots=True)
class Space:
    """All dimensions, and what of them is allowed.

    `allowed` is the conjunction of the file's constraints; `pool`, where given, is all that there is to choose from.
    """

    dimensions: tuple[Dimension, ...]
    allowed: Callable[[Point], bool] | None = None
    pool: tuple[Point, ...] | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """One property that is wanted: as great or as small as can be, a value, or anything within a window.

    `low` and `high`: of a window, and elsewhere where desirability begins and is full; `target`: of a value.
    """

    name: str
    goal: Literal["maximise", "minimise", "target", "window"]
    unit: str = ""
    target: float | None = None
    low: float | None = None
    high: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of one experiment: values by objective; `failed`: it was made, and gave none (its why in `cause`)."""

    point: Point
    values: Mapping[str, float] = field(default_factory=dict)
    failed: bool = False
    cause: str = ""
    noise: Mapping[str, float] = field(default_factory=dict)  # standard deviations, where the measurement tells them
    fidelity: str = "lab"  # or the name of a virtual one


@dataclass(frozen=True, slots=True)
class Prediction:
    """A normal distribution's mean and standard deviation, in the objective's unit, without the measurement's noise."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point to try, what is expected there, and why it is proposed, in words."""

    point: Point
    predicted: Mapping[str, Prediction] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A space, what is wanted in it, and what is known before the first experiment.

    `prior` gives for each objective that it knows a law: point -> expected value, in the objective's unit.
    `combine`: several objectives by Pareto front or by the weighted geometric mean of desirabilities.
    """

    space: Space
    objectives: tuple[Objective, ...]
    prior: Mapping[str, Callable[[Point], float]] = field(default_factory=dict)
    combine: Literal["pareto", "desirability"] = "desirability"


class Optimiser(Protocol):
    """Proposes what to try next from all that is known. A pure function of its arguments: it remembers nothing.

    What was told and what is pending come from the journal each time, so that nothing is lost or repeated by a crash.
    """

    def ask(
        self, problem: Problem, told: Sequence[Observation], pending: Sequence[Point], count: int, seed: int
    ) -> list[Proposal]:
        """Gives at most `count` proposals, none of them pending; fewer where the space has no more.

        The same arguments give the same proposals. Failed observations are no values: they teach where not to go.

        Raises:
            CampaignError: nothing in the space is allowed, or a library is missing.
        """
        ...


class CampaignError(Exception):
    """A campaign, its file or an optimiser cannot do what was asked; the text says why and how to mend it."""
