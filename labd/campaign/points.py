"""Points of a space: which are allowed, what the lab can make of one, and where it lies between 0 and 1.

A unit point has a number in [0, 1) for each range, each choice and each part of a mixture; designs are made of these.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from labd.campaign.problem import CampaignError, Choice, Dimension, Mixture, Point, Range, Space

_SLACK = 1e-9  # of sums and steps, in shares of what they are compared with
_TRIES = 60  # samples for each point that is wanted, before constraints are said to leave nothing

Key = tuple[float | str, ...]


def names(space: Space) -> list[str]:
    """What stands in a point of this space, in order."""
    found: list[str] = []
    for dimension in space.dimensions:
        found += dimension.parts if isinstance(dimension, Mixture) else (dimension.name,)
    return found


def key(space: Space, point: Point) -> Key:
    """What makes a point the same as another: its values but for rounding."""
    return tuple(
        value if isinstance(value := point[name], str) else float(f"{float(value):.9g}") + 0.0 for name in names(space)
    )


def valid(space: Space, point: Point) -> bool:
    """Whether the point lies in the space: bounds, steps, sums, constraints and pool."""
    if any(name not in point for name in names(space)):
        return False
    if space.pool is not None and key(space, point) not in {key(space, one) for one in space.pool}:
        return False
    return all(_within(dimension, point) for dimension in space.dimensions) and _allowed(space, point)


def _allowed(space: Space, point: Point) -> bool:
    return space.allowed is None or bool(space.allowed(point))


def _within(dimension: Dimension, point: Point) -> bool:
    if isinstance(dimension, Choice):
        return point[dimension.name] in dimension.levels
    if isinstance(dimension, Range):
        value = float(point[dimension.name])
        slack = _SLACK * max(abs(dimension.low), abs(dimension.high), 1e-12)
        fits = dimension.low - slack <= value <= dimension.high + slack
        return fits and _on_step(value - dimension.low, dimension.step)
    shares = [float(point[part]) for part in dimension.parts]
    slack = _SLACK * dimension.total
    if abs(sum(shares) - dimension.total) > len(shares) * slack + 1e-9 * dimension.total:
        return False
    bounds = zip(shares, dimension.low, dimension.high, strict=True)
    return all(low - slack <= share <= high + slack for share, low, high in bounds) and all(
        (share <= slack or share >= dimension.least - slack) and _on_step(share, dimension.step) for share in shares
    )


def _on_step(value: float, step: float | None) -> bool:
    return step is None or abs(value / step - round(value / step)) < 1e-6


def snap(space: Space, point: Point) -> dict[str, float | str] | None:
    """The nearest point that the lab can make; None when constraints forbid it or a mixture has no way to its sum."""
    made: dict[str, float | str] = {}
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            made[dimension.name] = str(point[dimension.name])
        elif isinstance(dimension, Range):
            made[dimension.name] = _snap_range(dimension, float(point[dimension.name]))
        else:
            shares = snap_shares(dimension, [float(point[part]) for part in dimension.parts])
            if shares is None:
                return None
            made |= dict(zip(dimension.parts, shares, strict=True))
    return made if _allowed(space, made) else None


def _snap_range(dimension: Range, value: float) -> float:
    value = min(max(value, dimension.low), dimension.high)
    if dimension.step is None:
        return value
    steps = math.floor((dimension.high - dimension.low) / dimension.step + 1e-9)
    return float(f"{dimension.low + dimension.step * min(steps, round((value - dimension.low) / dimension.step)):.12g}")


def snap_shares(mixture: Mixture, shares: Sequence[float]) -> list[float] | None:
    """Shares within their bounds that sum to the total, on steps; parts below half of the least are left out."""
    used = [share >= max(mixture.least / 2, _SLACK) or low > 0 for share, low in zip(shares, mixture.low, strict=True)]
    lows = [max(low, mixture.least) if use else 0.0 for use, low in zip(used, mixture.low, strict=True)]
    highs = [high if use else 0.0 for use, high in zip(used, mixture.high, strict=True)]
    if sum(highs) < mixture.total - _SLACK:  # what is used cannot fill it: the others have to
        highs = list(mixture.high)
    if mixture.step is None:
        return _fill(shares, lows, highs, mixture.total, mixture.least)
    return _fill_steps(shares, lows, highs, mixture)


def _fill(
    shares: Sequence[float], lows: list[float], highs: list[float], total: float, least: float
) -> list[float] | None:
    """Moves what is missing or too much to the parts that have room for it, in shares of their room."""
    if sum(lows) > total + _SLACK or sum(highs) < total - _SLACK:
        return None
    found = [min(max(share, low), high) for share, low, high in zip(shares, lows, highs, strict=True)]
    missing = total - sum(found)
    rooms = [high - one if missing > 0 else one - low for one, low, high in zip(found, lows, highs, strict=True)]
    if sum(rooms) > 0:
        found = [one + missing * room / sum(rooms) for one, room in zip(found, rooms, strict=True)]
    if any(_SLACK < one < least - _SLACK for one in found):
        return None
    return found


def _fill_steps(shares: Sequence[float], lows: list[float], highs: list[float], mixture: Mixture) -> list[float] | None:
    """The same in whole steps: the largest remainders get the units that are missing."""
    step = mixture.step or 1.0
    least = [math.ceil(low / step - 1e-9) for low in lows]
    most = [math.floor(high / step + 1e-9) for high in highs]
    units = round(mixture.total / step)
    if sum(least) > units or sum(most) < units or abs(units * step - mixture.total) > 1e-6 * mixture.total:
        return None
    found = [min(max(round(share / step), low), high) for share, low, high in zip(shares, least, most, strict=True)]
    while (missing := units - sum(found)) != 0:
        sign = 1 if missing > 0 else -1
        room = [i for i, one in enumerate(found) if (one < most[i] if sign > 0 else one > least[i])]
        best = max(room, key=lambda i: sign * (shares[i] / step - found[i]))
        found[best] += sign
    made = [float(f"{one * step:.12g}") for one in found]
    return None if any(_SLACK < one < mixture.least - _SLACK for one in made) else made


def units(space: Space) -> int:
    """How many numbers a unit point has."""
    return len(names(space))


def from_unit(space: Space, unit: Sequence[float]) -> dict[str, float | str] | None:
    """The point at a place of the unit cube: uniform numbers give shares that are uniform on their simplex."""
    rest = iter(unit)
    wanted: dict[str, float | str] = {}
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            wanted[dimension.name] = dimension.levels[int(next(rest) * len(dimension.levels))]
        elif isinstance(dimension, Range):
            wanted[dimension.name] = dimension.low + next(rest) * (dimension.high - dimension.low)
        else:
            weights = [-math.log(1 - next(rest)) for _ in dimension.parts]
            free = dimension.total - sum(dimension.low)
            scale = free / (sum(weights) or 1.0)
            shares = [low + weight * scale for low, weight in zip(dimension.low, weights, strict=True)]
            wanted |= dict(zip(dimension.parts, shares, strict=True))
    return snap(space, wanted)


def sample(space: Space, random: Random) -> dict[str, float | str] | None:
    """One point by chance; every other mixture leaves parts out, since good ones often have few; or None."""
    unit = [random.random() for _ in range(units(space))]
    at = 0
    for dimension in space.dimensions:
        if isinstance(dimension, Mixture) and random.random() < 0.5:
            for part in random.sample(range(len(dimension.parts)), random.randrange(len(dimension.parts))):
                unit[at + part] = 0.0
        at += len(dimension.parts) if isinstance(dimension, Mixture) else 1
    return from_unit(space, unit)


def every(space: Space, most: int) -> list[dict[str, float | str]] | None:
    """All points, where there are no more than so many; None for spaces without end and larger ones."""
    if space.pool is not None:
        return [dict(point) for point in space.pool if _allowed(space, point)]
    each: list[list[dict[str, float | str]]] = []
    for dimension in space.dimensions:
        found = _settings(dimension, most)
        if found is None:
            return None
        each.append(found)
    if math.prod(len(one) for one in each) > most:
        return None
    merged = ({name: value for part in parts for name, value in part.items()} for parts in itertools.product(*each))
    return [point for point in merged if _allowed(space, point)]


def _settings(dimension: Dimension, most: int) -> list[dict[str, float | str]] | None:
    if isinstance(dimension, Choice):
        return [{dimension.name: level} for level in dimension.levels]
    if isinstance(dimension, Range):
        if dimension.low == dimension.high:
            return [{dimension.name: dimension.low}]
        if dimension.step is None or (dimension.high - dimension.low) / dimension.step >= most:
            return None
        steps = math.floor((dimension.high - dimension.low) / dimension.step + 1e-9)
        return [{dimension.name: _snap_range(dimension, dimension.low + i * dimension.step)} for i in range(steps + 1)]
    if dimension.step is None:
        return None
    found = list(itertools.islice(_compositions(dimension), most + 1))
    return None if len(found) > most else found


def _compositions(mixture: Mixture) -> Iterator[dict[str, float | str]]:
    step = mixture.step or 1.0
    least = [math.ceil(low / step - 1e-9) for low in mixture.low]
    most = [math.floor(high / step + 1e-9) for high in mixture.high]
    used = math.ceil(mixture.least / step - 1e-9)

    def rest(at: int, left: int) -> Iterator[tuple[int, ...]]:
        if at == len(least):
            yield from [()] if left == 0 else []
            return
        if sum(least[at:]) > left or sum(most[at:]) < left:
            return
        for one in range(least[at], min(most[at], left) + 1):
            if one == 0 or one >= used:
                yield from ((one, *others) for others in rest(at + 1, left - one))

    for shares in rest(0, round(mixture.total / step)):
        yield {part: float(f"{one * step:.12g}") for part, one in zip(mixture.parts, shares, strict=True)}


def candidates(
    space: Space, count: int, random: Random, taken: Iterable[Key] = (), most: int = 4096
) -> list[dict[str, float | str]]:
    """Points to choose from, none of them taken: all where they are few, else so many by chance.

    Raises:
        CampaignError: nothing in the space is allowed.
    """
    seen = set(taken)
    whole = every(space, most)
    if whole is not None:
        if not whole:
            raise CampaignError("no point of the space is allowed: its constraints contradict each other, or its pool")
        return [point for point in whole if key(space, point) not in seen]
    found: list[dict[str, float | str]] = []
    tried = forbidden = 0
    while len(found) < count and tried < _TRIES * count:
        tried += 1
        point = sample(space, random)
        forbidden += point is None
        if point is not None and (name := key(space, point)) not in seen:
            seen.add(name)
            found.append(point)
    if tried and forbidden == tried:
        raise CampaignError(
            f"none of {tried} points by chance is allowed: constraints leave (nearly) nothing; "
            "widen bounds or constraints"
        )
    return found


def centre(space: Space) -> dict[str, float | str]:
    """The middle of the space, or the allowed point that is nearest to it where it is not allowed itself."""
    wanted: dict[str, float | str] = {}
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            wanted[dimension.name] = dimension.levels[0]
        elif isinstance(dimension, Range):
            wanted[dimension.name] = (dimension.low + dimension.high) / 2
        else:
            middle = [(low + high) / 2 for low, high in zip(dimension.low, dimension.high, strict=True)]
            scale = dimension.total / (sum(middle) or 1.0)
            wanted |= {part: share * scale for part, share in zip(dimension.parts, middle, strict=True)}
    found = snap(space, wanted)
    if found is None or space.pool is not None:
        found = min(candidates(space, 500, Random(0)), key=lambda one: distance(space, one, wanted))
    return found


def distance(space: Space, one: Point, other: Point) -> float:
    """How far two points are apart, in shares of each dimension's span; different levels are 1 apart."""
    total = 0.0
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            total += float(one[dimension.name] != other[dimension.name])
        elif isinstance(dimension, Range):
            span = (dimension.high - dimension.low) or 1.0
            total += ((float(one[dimension.name]) - float(other[dimension.name])) / span) ** 2
        else:
            total += sum(((float(one[p]) - float(other[p])) / dimension.total) ** 2 for p in dimension.parts) / 2
    return math.sqrt(total)
