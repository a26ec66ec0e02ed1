"""Which units are alike, and who gets which of them when only the times are settled."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labd.run.planning.shop import Item, Placement, Shop


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stay of a work, or what holds its sample: `count` units of a role from one task to another.

    `fixed`: units that it has already, from now on.
    """

    item: Item
    number: int
    role: str
    count: int
    first: int
    last: int
    fixed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """Roles that are served by the same units."""

    roles: frozenset[str]
    units: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.units)

    def closed(self, shop: Shop) -> list[int]:
        """Until when units are closed that nobody is in."""
        held = {unit for item in shop.items for units in item.fixed.values() for unit in units}
        return [shop.closed[unit] for unit in self.units if unit in shop.closed and unit not in held]


def resources_of(shop: Shop) -> list[Resource]:
    """The resources of a bench."""
    by_units: dict[tuple[str, ...], set[str]] = {}
    for role, units in shop.bench.units.items():
        by_units.setdefault(tuple(units), set()).add(role)
    return [Resource(frozenset(roles), units) for units, roles in by_units.items()]


def entangled(shop: Shop) -> bool:
    """Whether roles share some of their units, and not all: then which unit is not settled by how many."""
    units = [unit for resource in resources_of(shop) for unit in resource.units]
    known = set(units)
    held = {unit for item in shop.items for units in item.fixed.values() for unit in units}
    held |= {unit for item in shop.items for unit, _ in item.held}
    return len(known) < len(units) or not held <= known


def stretches_of(items: Sequence[Item]) -> Iterator[Stretch]:
    """All that units are needed for from now on."""
    for item in items:
        for number, stay in enumerate(item.stays):
            fixed = item.fixed.get(number, ())
            if fixed or stay.last >= item.first:
                yield Stretch(item, number, stay.role, stay.count, stay.tasks[0], stay.last, fixed)


def assigned(shop: Shop, items: Sequence[Item], starts: Mapping[str, Sequence[int]]) -> dict[str, Placement] | None:
    """Units for stays whose times are settled: who begins first takes the first that is free. None: too few are."""
    found = {item.work.id: [item.fixed.get(number, ()) for number in range(len(item.stays))] for item in items}
    stretches = list(stretches_of(items))
    for resource in resources_of(shop):
        own = [one for one in stretches if one.role in resource.roles]
        free = _free_at(shop, resource, items, [one for one in own if one.fixed], starts)
        heap = [(at, place, resource.units[place]) for place, at in enumerate(free)]
        heapq.heapify(heap)
        waiting = [one for one in own if not one.fixed]
        for one in sorted(waiting, key=lambda one: starts[one.item.work.id][one.first]):
            got = [heapq.heappop(heap) for _ in range(min(one.count, len(heap)))]
            if len(got) < one.count or any(at > starts[one.item.work.id][one.first] for at, _, _ in got):
                return None
            found[one.item.work.id][one.number] = tuple(unit for _, _, unit in got)
            for _, place, unit in got:
                heapq.heappush(heap, (_end(one, starts), place, unit))
    return {item.work.id: Placement(tuple(starts[item.work.id]), tuple(found[item.work.id])) for item in items}


def _free_at(
    shop: Shop,
    resource: Resource,
    items: Sequence[Item],
    fixed: Sequence[Stretch],
    starts: Mapping[str, Sequence[int]],
) -> list[int]:
    """When each unit is free of what it has now."""
    found = {unit: shop.closed.get(unit, 0) for unit in resource.units}
    for one in fixed:
        found |= {unit: max(0, _end(one, starts)) for unit in one.fixed if unit in found}
    for item in items:
        for unit, last in item.held:
            if unit in found:
                found[unit] = max(0, starts[item.work.id][last] + item.duration[last])
    return [found[unit] for unit in resource.units]


def _end(one: Stretch, starts: Mapping[str, Sequence[int]]) -> int:
    return starts[one.item.work.id][one.last] + one.item.duration[one.last]
