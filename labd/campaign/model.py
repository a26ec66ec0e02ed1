"""What a campaign's file says, as frozen models: its shape. What it means, the checker finds out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, Tag

from labd.protocol.model.base import Name, Text, Value

IDENTIFIER = r"^[a-z][a-z0-9_-]{0,39}$"
"""A campaign's name: it is part of topics, and of the names of its samples."""

Count = Annotated[StrictInt, Field(ge=1, le=1_000_000)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MixturePart(Part):
    """One part of a mixture.

    Args:
        min: its least share.
        max: its greatest share; default: the whole.
    """

    min: float = 0.0
    max: float | None = None


class DimensionSpec(Part):
    """Something that may be chosen.

    Args:
        type: `quantity`, `number` and `integer` have bounds, `choice` has levels, `mixture` has parts.
        min: the least value, with its unit: point values are told in this unit.
        max: the greatest value.
        step: what the lab can dose or set: only multiples of it above `min`; of a mixture, of each share.
        choices: the levels: a list, or a mapping of each level to its descriptors, numbers that tell
            how alike they are.
        parts: the parts of a mixture, by name: their shares sum to `total`.
        total: what the shares sum to; default: 1.
        least: a part that is used at all has at least this share.
        summary: one line for whoever reads the report.
    """

    type: Literal["quantity", "number", "integer", "choice", "mixture"]
    min: Value = None
    max: Value = None
    step: Value = None
    choices: (
        Annotated[
            Annotated[tuple[Text, ...], Tag("@list")] | Annotated[dict[Text, dict[Name, float]], Tag("@levels")],
            Discriminator(lambda given: "@levels" if isinstance(given, dict) else "@list"),
        ]
        | None
    ) = None
    parts: dict[Name, MixturePart] | None = None
    total: float | None = None
    least: float | None = None
    summary: Text = ""


class ObjectiveSpec(Part):
    """A property that is wanted.

    Args:
        goal: as great or as small as can be, one value, or anything within a window.
        value: an expression over `results.…` of the protocol, `figures.…` of its run, and the point; default: the
            result, or else the figure, of the same name.
        unit: in which it is told; default: the unit of its bounds, else of the result.
        target: the value that is wanted, of `target`.
        low: of `window` its lower end; else where desirability begins (minimise: where it is full).
        high: of `window` its upper end; else where desirability is full (minimise: where it begins).
        weight: how much it counts beside the others.
    """

    goal: Literal["maximise", "minimise", "target", "window"]
    value: Value = None
    unit: Text | None = None
    target: Value = None
    low: Value = None
    high: Value = None
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0


class BudgetSpec(Part):
    """What may be spent. Whatever is used up first ends the campaign.

    Args:
        cells: experiments that were made, failed ones too.
        time: lab time since the start: `72 h`.
        money: in `currency`; needs `costs.money`.
        mass: of what goes into the experiments; needs `costs.mass`.
        currency: what money is told in.
    """

    cells: Count | None = None
    time: Value = None
    money: Annotated[float, Field(gt=0)] | None = None
    mass: Value = None
    currency: Text = "EUR"


class CostsSpec(Part):
    """What one experiment costs: values, or expressions over its point.

    Args:
        money: in the budget's currency.
        mass: of what goes into it.
    """

    money: Value = None
    mass: Value = None


class StopSpec(Part):
    """When the campaign ends before its budget is spent.

    Args:
        when: a condition over `best.…` (the objectives at the best point), `experiments`, `failed` and `rounds`.
        unchanged: experiments after which the best is still the same.
        failures: failures one after another; these pause it, since something may be wrong with the lab.
    """

    when: Text | None = None
    unchanged: Count | None = None
    failures: Count | None = None


class OptimiserSpec(Part):
    """Who proposes, with settings of its own.

    Args:
        use: its name; `external`: a program outside asks and tells over REST or MQTT.
        settings: its own, by name.
    """

    use: Name
    settings: dict[Name, Any] = Field(default_factory=dict)


class LawSpec(Part):
    """A law of the literature that is known before the first experiment.

    Args:
        law: its name.
        settings: its own, by name: what of the point it reads, and in what units.
    """

    law: Name
    settings: dict[Name, Any] = Field(default_factory=dict)


class VirtualSpec(Part):
    """Virtual cells: a model answers for points that nobody makes. They teach where to look, and are no results.

    Args:
        function: `simulators.cells.virtual:outcome`, or the name of an entry point of the group `labd.virtual`.
        with: what it is called with: values and expressions over the point (in default units), also within a mapping.
        figures: which of what it gives is which objective, where their names differ; numbers in the objective's unit.
        count: how many virtual cells, before the first proposal.
        processes: how many at once.
        cluster: address of a dask scheduler instead, `tcp://10.0.0.2:8786`.
    """

    function: Text
    with_: dict[Name, Value] = Field(alias="with")
    figures: dict[Name, Name] = Field(default_factory=dict)
    count: Annotated[StrictInt, Field(ge=1, le=2000)] = 48
    processes: Annotated[StrictInt, Field(ge=1, le=256)] = 2
    cluster: Text = ""


class CampaignFile(Part):
    """A search for the best: what may be chosen, what is wanted, how one experiment is made, and when it is enough.

    Args:
        labd: the version of the language.
        campaign: the campaign's name: small letters, digits, `_` and `-`.
        version: its own version, three numbers.
        summary: one line: what it is for.
        space: what may be chosen, by name.
        constraints: conditions over the point that all have to hold.
        objectives: what is wanted, by name.
        combine: several objectives by `desirability` (weighted geometric mean) or as a `pareto` front.
        protocol: what makes and measures one sample: a protocol's file, or the name of a shipped one.
        parameters: the protocol's, as values, expressions over the point, or `{each: [a, b]}`: one after another.
        batch: how many samples are proposed together.
        rolling: whether a new one is proposed whenever one has ended, instead of when all have.
        budget: what may be spent.
        costs: what one experiment costs.
        stop: when it is enough.
        optimiser: who proposes: a name, or `{use: name, settings: {…}}`.
        prior: what is known before, by objective: an expression over the point (`=…`), or a law: its name, or
            `{law: name, settings: {…}}`.
        virtual: virtual cells that inform the real ones, by the name of their fidelity.
        seed: of all that is done by chance.
    """

    labd: Literal[1]
    campaign: Annotated[Text, Field(pattern=IDENTIFIER)]
    version: Annotated[Text, Field(pattern=r"^\d+\.\d+\.\d+$")] = "1.0.0"
    summary: Text = ""
    space: Annotated[dict[Name, DimensionSpec], Field(min_length=1)]
    constraints: tuple[Text, ...] = ()
    objectives: Annotated[dict[Name, ObjectiveSpec], Field(min_length=1)]
    combine: Literal["desirability", "pareto"] = "desirability"
    protocol: Text
    parameters: dict[Name, Value] = Field(default_factory=dict)
    batch: Annotated[StrictInt, Field(ge=1, le=200)] = 1
    rolling: StrictBool = False
    budget: BudgetSpec
    costs: CostsSpec = CostsSpec()
    stop: StopSpec = StopSpec()
    optimiser: Annotated[
        Annotated[Name, Tag("@name")] | Annotated[OptimiserSpec, Tag("@spec")],
        Discriminator(lambda given: "@spec" if isinstance(given, (dict, OptimiserSpec)) else "@name"),
    ] = "gp"
    prior: dict[
        Name,
        Annotated[
            Annotated[Text, Tag("@text")] | Annotated[LawSpec, Tag("@law")],
            Discriminator(lambda given: "@law" if isinstance(given, (dict, LawSpec)) else "@text"),
        ],
    ] = Field(default_factory=dict)
    virtual: dict[Name, VirtualSpec] = Field(default_factory=dict)
    seed: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] = 1
