"""Doses that are proven by mass: a balance under the place that they go to, named in lab.yaml's `evidence`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from labd import clock
from labd.expr import did_you_mean
from labd.files import Path as Place
from labd.lab.deck import DeckEntry
from labd.lab.device import Device
from labd.lab.findings import Findings
from labd.lab.models import MassEvidence
from labd.sdk import Balance, Driver, Parameters, Unreachable
from labd.sdk.quantities import unit_of
from labd.sdk.units import plain

REST_LIMIT = 30.0  # s that a pan gets to come to rest
GLANCE = 0.5  # s between two looks at it
G_PER_MICROLITRE = 1e-3  # of 1 g/cm³


@dataclass(frozen=True, slots=True)
class WeighedDose:
    """The mass on a balance grows by what a dose weighs. In g, µL, g/cm³; `within` is a share of the dose's mass."""

    name: str
    balance: Device
    to: str
    density: float
    within: float

    @classmethod
    def of(cls, rule: MassEvidence, devices: Mapping[str, Device]) -> WeighedDose:
        """As lab.yaml says, once it is checked."""
        return cls(rule.name, devices[rule.mass], rule.to, rule.density, rule.within / 100)

    async def before(self, parameters: Parameters) -> JsonValue:
        """What stands on the pan, g; None for a dose that goes elsewhere.

        Raises:
            Unreachable: the balance is down, or does not come to rest; the dose was not ordered.
        """
        values: Any = parameters
        return await self._mass() if _is_under(values.destination, self.to) else None

    async def against(self, parameters: Parameters, before: JsonValue) -> str | None:
        """Whether the mass grew by too much or too little. Raises DeviceError: it cannot be told."""
        values: Any = parameters
        assert isinstance(before, (int, float))
        due = values.volume * self.density * G_PER_MICROLITRE
        grown = await self._mass() - before
        if abs(grown - due) <= self.within * due:
            return None
        saw = plain(round(grown, 4), "g")
        return (
            f"{plain(values.volume, 'µL')} weigh {plain(due, 'g')}, and {self.balance.id} saw {saw} "
            f"({(grown / due - 1) * 100:+.3g} %, where {self.within * 100:g} % are allowed)"
        )

    async def _mass(self) -> float:
        if not self.balance.connected:
            raise Unreachable(f"{self.balance.id}, which is to weigh the dose, is down: {self.balance.problem}")
        end = clock.monotonic() + REST_LIMIT
        while True:
            try:
                seen: Any = await self.balance.witnesses.read()
            except TimeoutError:
                raise Unreachable(f"{self.balance.id}, which is to weigh the dose, does not answer") from None
            if seen.stable and seen.mass is not None:
                return float(seen.mass)
            if clock.monotonic() >= end:
                raise Unreachable(f"{self.balance.id}, which is to weigh the dose, does not come to rest")
            await asyncio.sleep(GLANCE)


def check_doses(
    rules: Iterable[MassEvidence],
    classes: Mapping[str, type[Driver]],
    drivers: Mapping[str, Driver],
    names: Iterable[str],
    deck: Iterable[DeckEntry],
    findings: Findings,
) -> None:
    """Tells what does not hold in lab.yaml's `evidence`.

    Args:
        rules: as lab.yaml says.
        classes: of the devices' drivers, as far as they are there.
        drivers: as far as they can be made.
        names: of all devices.
        deck: places and what stands there.
        findings: who is told.
    """
    known, places, seen = tuple(names), [entry.place for entry in deck], set[str]()
    for number, rule in enumerate(rules):
        at: Place = ("evidence", number)
        if rule.name in seen:
            findings.tell("L302", f"the evidence `{rule.name}` stands twice", (*at, "name"), "name it otherwise")
        seen.add(rule.name)
        _check_action(rule, classes, known, at, findings)
        stands = any(_is_under(rule.to, place) for place in places)
        if not stands:
            findings.tell("L212", f"nothing stands at `{rule.to}`", (*at, "to"), did_you_mean(rule.to, places))
        _check_balance(rule, drivers, known, at, findings, stands=stands)


def _check_action(
    rule: MassEvidence, classes: Mapping[str, type[Driver]], names: tuple[str, ...], at: Place, findings: Findings
) -> None:
    device, _, name = rule.after.partition(".")
    if device not in names:
        findings.tell("L204", f"there is no device `{device}`", (*at, "after"), did_you_mean(device, names, "there is"))
        return
    if device not in classes:
        return
    doses = [one.name for one in classes[device].actions.values() if _doses(one.parameters)]
    if name not in doses:
        mend = f"write `{device}.{doses[0]}`" if doses else "name an action with `destination` and `volume`"
        findings.tell("L212", f"`{rule.after}` moves no volume to a place", (*at, "after"), mend)
    elif not rule.to.startswith(f"{device}/"):
        findings.tell("L212", f"{device} does not reach `{rule.to}`", (*at, "to"), f"write a place `{device}/…`")


def _check_balance(
    rule: MassEvidence,
    drivers: Mapping[str, Driver],
    names: tuple[str, ...],
    at: Place,
    findings: Findings,
    *,
    stands: bool,
) -> None:
    scales = [name for name, driver in drivers.items() if isinstance(driver, Balance)]
    if rule.mass not in names:
        mend = did_you_mean(rule.mass, scales or names, "there is")
        findings.tell("L204", f"there is no device `{rule.mass}`", (*at, "mass"), mend)
        return
    balance = drivers.get(rule.mass)
    if balance is None:
        return
    if not isinstance(balance, Balance):
        message = f"`{rule.mass}` is of the role {balance.role}, no balance"
        findings.tell("L204", message, (*at, "mass"), did_you_mean(rule.mass, scales))
    elif stands and not _is_under(rule.to, balance.pan):
        mend = f"write `pan: {rule.to}` into the settings of {rule.mass}, or name the balance that is under it"
        findings.tell("L212", f"{rule.mass} weighs `{balance.pan}`, not `{rule.to}`", (*at, "mass"), mend)


def _doses(parameters: type[Parameters]) -> bool:
    fields = parameters.model_fields
    return "destination" in fields and "volume" in fields and unit_of(fields["volume"]) == "µL"


def _is_under(place: str, whole: str) -> bool:
    """Whether a place is another, or a well of it."""
    return re.match(rf"{re.escape(whole)}(/|$)", place) is not None
