"""What stands on a lab's deck: labware at places, liquids in its wells, parts on its trays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator

from labd.expr import did_you_mean
from labd.files import Path
from labd.lab.findings import Findings
from labd.lab.written import Day, Line, Part, PartName, PlaceName, Volume, flaw
from labd.sdk import Labware, labware


class Liquid(Part):
    """A material in a well. Volumes in µL."""

    material: Annotated[Line, Field(description="What protocols call it: LP57.")]
    lot: Annotated[Line | None, Field(description="The supplier's or the lab's own number.")] = None
    volume: Annotated[Volume, Field(description="How much there is: 12 mL.")]
    dead: Annotated[Volume, Field(description="What cannot be drawn: 1 mL.", json_schema_extra={"default": "0 µL"})] = (
        0.0
    )
    expires: Annotated[Day | None, Field(description="The last day on which it is good: 2026-12-31.")] = None

    @property
    def usable(self) -> float:
        """What can be drawn, µL."""
        return max(0.0, self.volume - self.dead)

    def expired(self, today: dt.date) -> bool:
        return self.expires is not None and self.expires < today


class TrayPart(Part):
    """One part in one place of a tray."""

    part: Annotated[PartName, Field(description="half_cell, lid, or the name of a part.")]


Content = Annotated[
    Annotated[Liquid, Tag("@liquid")] | Annotated[TrayPart, Tag("@part")],
    Discriminator(lambda given: "@part" if isinstance(given, TrayPart) or _has(given, "part") else "@liquid"),
]


def _has(given: object, key: str) -> bool:
    return isinstance(given, dict) and key in given


class DeckEntry(Part):
    """One labware and what is in it."""

    place: Annotated[PlaceName, Field(description="Where it stands: ot2/1, tray/cells.")]
    labware: Annotated[str, Field(description="A tray or vial rack of labd, or an Opentrons load name.")]
    contents: Annotated[dict[str, Content], Field(description="What is in single wells: {A1: {material: …}}.")] = Field(
        default_factory=dict
    )
    fill: Annotated[PartName | None, Field(description="The part that lies in every place of a tray.")] = None

    @field_validator("labware")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            labware.shape(value)
        except ValueError:
            mend = did_you_mean(value, labware.SHAPES, "ours are")
            if not mend.startswith("did you mean"):
                mend += "; an Opentrons load name carries its wells: `nest_96_wellplate_200ul_flat`"
            raise flaw("L301", f"there is no labware `{value[:60]}`", mend) from None
        return value

    @property
    def wells(self) -> list[str]:
        return labware.wells(self.labware)

    @property
    def liquids(self) -> Iterator[tuple[str, Liquid]]:
        """Liquids by their place, `ot2/2/A1`."""
        for well, content in self.contents.items():
            if isinstance(content, Liquid):
                yield f"{self.place}/{well}", content

    @property
    def parts(self) -> dict[str, str]:
        """Parts by their place."""
        found = {f"{self.place}/{well}": self.fill for well in self.wells} if self.fill is not None else {}
        single = {well: content for well, content in self.contents.items() if isinstance(content, TrayPart)}
        return found | {f"{self.place}/{well}": content.part for well, content in single.items()}

    def as_labware(self) -> Labware:
        """For the driver on whose deck it stands."""
        contents: dict[str, dict[str, Any]] = {
            well: content.model_dump(mode="json", exclude_none=True) for well, content in self.contents.items()
        }
        return Labware(self.place, self.labware, contents)


def check_deck(deck: Mapping[int, DeckEntry], findings: Findings, today: dt.date) -> None:
    """Tells what does not hold on the deck, by the number of its entry; expired materials as warnings."""
    first: dict[str, int] = {}
    for number, entry in deck.items():
        at: Path = ("deck", number)
        if entry.place in first:
            message = f"the place `{entry.place}` stands twice; the first is entry {first[entry.place] + 1}"
            findings.tell("L302", message, (*at, "place"), "keep one of them")
        first.setdefault(entry.place, number)
        if entry.fill is not None and not labware.holds_parts(entry.labware):
            findings.tell("L306", f"`{entry.labware}` takes no parts", (*at, "fill"), "parts stand on trays")
        for well, content in entry.contents.items():
            where = (*at, "contents", well)
            if well not in entry.wells:
                mend = did_you_mean(well, entry.wells, "it has")
                findings.tell("L303", f"`{entry.labware}` has no well `{well}`", where, mend, key=True)
            if isinstance(content, TrayPart):
                if not labware.holds_parts(entry.labware):
                    findings.tell("L306", f"`{entry.labware}` takes no parts", (*where, "part"), "parts stand on trays")
            else:
                _check_liquid(entry, content, where, findings, today)


def _check_liquid(entry: DeckEntry, liquid: Liquid, where: Path, findings: Findings, today: dt.date) -> None:
    if not labware.holds_liquid(entry.labware):
        mend = "liquid stands in vials, tubes and plates"
        findings.tell("L306", f"`{entry.labware}` takes no liquid", (*where, "material"), mend)
        return
    most = labware.capacity(entry.labware)
    if most is not None and liquid.volume > most:
        message = f"{_shown(liquid.volume)} is more than a well of `{entry.labware}` holds, {_shown(most)}"
        findings.tell("L304", message, (*where, "volume"), f"write at most `{_shown(most)}`")
    if liquid.dead > liquid.volume:
        message = f"the dead volume, {_shown(liquid.dead)}, is more than there is, {_shown(liquid.volume)}"
        findings.tell("L304", message, (*where, "dead"), "`volume` is all that is in the well")
    if liquid.expired(today):
        message = f"{liquid.material} expired on {liquid.expires}: it counts for nothing"
        findings.tell("L305", message, (*where, "expires"), "put in a fresh one", warning=True)


def _shown(volume: float) -> str:
    """µL as people write them."""
    return f"{volume / 1000:g} mL" if volume >= 1000 else f"{volume:g} µL"
