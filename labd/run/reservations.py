"""Who may use which unit now: all that a state needs, at once, so that no two runs wait for each other.

A run waits holding nothing but the places that its sample occupies. A unit with a place of its own (a nest, a
channel's holder) is free for a run only while that place is empty or holds the run's own sample: so a cell that waits
in the press keeps the press from being given away, after the state that put it there has ended. Units are given only
where all runs can still come to their ends afterwards: two cells never wait for each other's place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from labd.lab.device import Device
from labd.lab.lab import Lab
from labd.run.planning.site import unit_name
from labd.run.scheduling.banker import Banker
from labd.run.scheduling.claims import Need, UnitKey
from labd.run.scheduling.policy import Policy, Rank


@dataclass(frozen=True, slots=True)
class Bound:
    """A role's device and unit while a state is active; `more` are the other channels of a role that takes several."""

    role: str
    device: Device
    unit: str
    place: str | None
    more: tuple[UnitKey, ...] = ()

    @property
    def key(self) -> UnitKey:
        return self.device.id, self.unit

    @property
    def keys(self) -> tuple[UnitKey, ...]:
        """All units that it takes."""
        return (self.key, *self.more)

    def __str__(self) -> str:
        return unit_name(*self.key)


@dataclass(slots=True)
class _Waiter:
    order: int
    run: str
    sample: str
    roles: Mapping[str, str]  # the protocol's name -> role
    channels: Mapping[str, int]  # how many units, by the protocol's name; one where nothing is said
    need: Need
    granted: asyncio.Future[dict[str, Bound]]
    why: str = ""

    @property
    def state(self) -> str:
        return self.need.state

    def actions(self, name: str) -> frozenset[str]:
        """What its units of a role must be able to do that not all can."""
        return self.need.actions.get(name, frozenset())


@dataclass(slots=True)
class Reservations:
    """The units of one lab and the runs that have them. Who goes first, the policy says."""

    lab: Lab
    policy: Policy | None = None
    """Without one older runs go first, and nobody waits for what is free."""
    _holder: dict[UnitKey, str] = field(default_factory=dict)
    _waiters: list[_Waiter] = field(default_factory=list)
    _banker: Banker = field(init=False)
    _kept: dict[UnitKey, str] = field(default_factory=dict)  # free, and kept for an older run that needs several

    def __post_init__(self) -> None:
        self._banker = Banker(self.lab)
        self.lab.places.on_change(self._grant)
        self.lab.barriers.on_change(self._grant)

    async def acquire(
        self,
        run: str,
        order: int,
        sample: str,
        roles: Mapping[str, str],
        channels: Mapping[str, int] | None = None,
        need: Need | None = None,
    ) -> dict[str, Bound]:
        """Waits until one unit for each role is free, and takes them all.

        Args:
            run: who asks.
            order: its place in the line; the least goes first.
            sample: what it works on.
            roles: role (`crimper`) by the protocol's name for it (`press`).
            channels: how many units a role takes, where it is more than one.
            need: the state for which it asks, and what may come after it.
        """
        need = need or Need()
        self._banker.asked(run, sample, need)
        if self.policy is not None:
            self.policy.asked(run, need.state)
        if not roles:
            self._told(run, {}, need.state, {})
            return {}
        granted: asyncio.Future[dict[str, Bound]] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(order, run, sample, roles, channels or {}, need, granted)
        self._waiters.append(waiter)
        self._grant()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(run, waiter.granted.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def restore(self, run: str, sample: str, bounds: Mapping[str, Bound], need: Need) -> None:
        """Gives a run the units that it had before a restart; before anybody else asks for any."""
        self.occupy(run, {key for bound in bounds.values() for key in bound.keys})
        self._banker.asked(run, sample, need)
        self._banker.granted(run, _keys(bounds))

    def ended(self, run: str) -> None:
        """A run asks for nothing any more."""
        self._banker.ended(run)
        if self.policy is not None:
            self.policy.ended(run)
        self._grant()

    def occupy(self, run: str, keys: Collection[UnitKey]) -> None:
        """Enters a run as the one that has these units."""
        self._holder |= dict.fromkeys(keys, run)

    def vacate(self, run: str) -> None:
        """Gives back all that a run has."""
        self._holder = {key: holder for key, holder in self._holder.items() if holder != run}
        self._grant()

    def take(self, run: str, sample: str, bound: Bound) -> bool:
        """Takes a unit that the run had before, if nobody has it now and no other's sample is in it.

        Gives whether it did.
        """
        if not bound.device.connected or any(self._holder.get(key, run) != run for key in bound.keys):
            return False
        if self.lab.barriers.reason_for({name for name, _ in bound.keys}) is not None:
            return False
        places = self.lab.places
        for name, unit in bound.keys:
            place = self.lab.place_of(self.lab.devices[name], unit)
            if place is not None and {places.sample_at(place), places.part_for(place)} - {None, sample}:
                return False
        self._holder |= dict.fromkeys(bound.keys, run)
        return True

    def release(self, run: str, bounds: Mapping[str, Bound]) -> None:
        """Gives units back."""
        if self.policy is not None and bounds:
            self.policy.left(run)
        for key in [key for bound in bounds.values() for key in bound.keys]:
            if self._holder.get(key) == run:
                del self._holder[key]
        self._grant()

    def holder(self, device: str, unit: str) -> str | None:
        """The run that has a unit."""
        return self._holder.get((device, unit))

    def held_by(self, run: str) -> set[str]:
        """The devices of which a run has a unit."""
        return {device for (device, _), holder in self._holder.items() if holder == run}

    def waiting(self, run: str) -> str | None:
        """Why a run waits, in words, or None."""
        return next((waiter.why for waiter in self._waiters if waiter.run == run), None)

    def reconsider(self) -> None:
        """Looks again whether somebody can be served: a device came back."""
        self._grant()

    def _grant(self) -> None:
        self._kept.clear()
        for waiter in sorted(self._waiters, key=self._rank):
            if waiter.granted.done():
                continue
            bounds = self._match(waiter)
            if bounds is None:
                continue
            objection = self._objection(waiter, bounds)
            if objection is not None:
                waiter.why = objection
                continue
            self._waiters.remove(waiter)
            for bound in bounds.values():
                self._holder |= dict.fromkeys(bound.keys, waiter.run)
            self._told(waiter.run, bounds, waiter.state, waiter.roles)
            waiter.granted.set_result(bounds)

    def _told(self, run: str, bounds: Mapping[str, Bound], state: str, roles: Mapping[str, str]) -> None:
        """Tells banker and policy that a run has what it asked for."""
        self._banker.granted(run, _keys(bounds))
        if self.policy is not None:
            self.policy.granted(run, state, _named(roles, bounds))

    def _rank(self, waiter: _Waiter) -> Rank:
        return self.policy.rank(waiter.run, waiter.order) if self.policy is not None else (float(waiter.order),)

    def _objection(self, waiter: _Waiter, bounds: Mapping[str, Bound]) -> str | None:
        """Why somebody must not have these units yet although they are free."""
        objection = None
        if self.policy is not None:
            units = {unit_name(*key) for bound in bounds.values() for key in bound.keys}
            objection = self.policy.objection(waiter.run, waiter.state, units)
        return objection or self._banker.objection(waiter.run, _keys(bounds))

    def _match(self, waiter: _Waiter) -> dict[str, Bound] | None:
        found: dict[str, Bound] = {}
        kept = self._kept if self._kept and not self._occupies(waiter.sample) else {}
        for name, role in waiter.roles.items():
            taken = {key for bound in found.values() for key in bound.keys} | set(kept)
            bound = self._choose(waiter, name, role, taken)
            several = waiter.channels.get(name, 1)
            if bound is not None:
                bound = self._widen(bound, several - 1, taken, self._able(waiter, name, role))
            if bound is None:
                able = self._able(waiter, name, role)
                waiter.why = self._reason(name, role, kept, able)
                if several > 1:
                    self._keep_free(waiter.run, able)
                return None
            found[name] = bound
        return found

    def _able(self, waiter: _Waiter, name: str, role: str) -> list[tuple[Device, str]]:
        """The units of a role that can do all that a run asks of it, anywhere."""
        return self.lab.units_for(role, waiter.actions(name))

    def _keep_free(self, run: str, able: Sequence[tuple[Device, str]]) -> None:
        """Keeps a role's free units for a run that needs several: else younger ones that need one go first for ever."""
        for device, unit in able:
            if self._is_free(device, unit, self.lab.place_of(device, unit)):
                self._kept.setdefault((device.id, unit), run)

    def _occupies(self, sample: str) -> bool:
        """Whether a sample is where it keeps a unit from others: its run is to go on, whoever came before it."""
        places = self.lab.places
        own = places.place_of(sample)
        units = ((device, unit) for device in self.lab.devices.values() for unit in device.driver.units)
        held = (place for device, unit in units if (place := self.lab.place_of(device, unit)) is not None)
        return any(place == own or places.part_for(place) == sample for place in held)

    def _widen(self, bound: Bound, more: int, taken: set[UnitKey], able: Sequence[tuple[Device, str]]) -> Bound | None:
        """The same with so many more free units, those of its own device first; None when there are too few."""
        if more <= 0:
            return bound
        units = sorted(able, key=lambda entry: entry[0].id != bound.device.id)
        free = [
            (device.id, unit)
            for device, unit in units
            if (device.id, unit) not in {*taken, bound.key}
            and self._is_free(device, unit, self.lab.place_of(device, unit))
        ]
        return replace(bound, more=tuple(free[:more])) if len(free) >= more else None

    def _choose(self, waiter: _Waiter, name: str, role: str, taken: set[UnitKey]) -> Bound | None:
        own = self.lab.places.place_of(waiter.sample)
        free: Bound | None = None
        for device, unit in self._units_for(waiter, name, role):
            place = self.lab.place_of(device, unit)
            mine = place is not None and (place == own or self.lab.places.part_for(place) == waiter.sample)
            if mine and (device.id, unit) not in taken:
                # the sample, or a part for it, is in it: no other unit of the role will do
                barred = self._holder.get((device.id, unit)) or self.lab.barriers.reason_for((device.id,))
                return None if barred else Bound(name, device, unit, place)
            if free is None and (device.id, unit) not in taken and self._is_free(device, unit, place):
                free = Bound(name, device, unit, place)
        return free

    def _units_for(self, waiter: _Waiter, name: str, role: str) -> list[tuple[Device, str]]:
        """Those that serve a role, the ones that the policy has in mind for it first."""
        preferred = self.policy.preferred(waiter.run, role) if self.policy is not None else ()
        units = self._able(waiter, name, role)
        return sorted(units, key=lambda one: unit_name(one[0].id, one[1]) not in preferred) if preferred else units

    def _is_free(self, device: Device, unit: str, place: str | None) -> bool:
        if (device.id, unit) in self._holder or not device.connected or self.lab.barriers.reason_for((device.id,)):
            return False
        places = self.lab.places
        return place is None or (places.sample_at(place) is None and places.part_for(place) is None)

    def _reason(self, name: str, role: str, kept: Mapping[UnitKey, str], units: Sequence[tuple[Device, str]]) -> str:
        if not units and self.lab.units_for(role):
            return f"no {role} of the lab can do all that {name} is asked for"
        if not units:
            return f"the lab has no {role} for {name}"
        told = []
        for device, unit in units[:4]:
            key = (device.id, unit)
            place = self.lab.place_of(device, unit)
            sample = self.lab.places.sample_at(place) if place else None
            part = self.lab.places.part_for(place) if place else None
            if key in self._holder:
                told.append(f"{device.id} works for {self._holder[key]}")
            elif key in kept:
                told.append(f"{device.id} is kept for {kept[key]}, which needs several and came before")
            elif barred := self.lab.barriers.reason_for((device.id,)):
                told.append(barred)
            elif not device.connected:
                told.append(f"{device.id} is down")
            elif sample:
                told.append(f"{device.id} holds {sample}")
            elif part:
                told.append(f"{device.id} holds a part for {part}")
        return f"waits for a {role}: {'; '.join(told)}" if told else f"waits for a {role}"


def _keys(bounds: Mapping[str, Bound]) -> dict[str, tuple[UnitKey, ...]]:
    """The units by the protocol's name for their role."""
    return {name: bound.keys for name, bound in bounds.items()}


def _named(roles: Mapping[str, str], bounds: Mapping[str, Bound]) -> dict[str, tuple[str, ...]]:
    """The units by kind of device, as plans call them."""
    found: dict[str, tuple[str, ...]] = {}
    for name, bound in bounds.items():
        found[roles[name]] = found.get(roles[name], ()) + tuple(unit_name(*key) for key in bound.keys)
    return found
