"""Material, tips, parts and room: whether what a lab has is enough for the worst path of a protocol."""

from __future__ import annotations

from collections.abc import Iterator

from labd.files.problems import Problem
from labd.protocol.proofs.case import Case
from labd.protocol.proofs.material import SAMPLE, TIPS, Amount, Key, Ledger, Needs
from labd.sdk import labware

SLACK = 1e-9


def stock_problems(case: Case) -> Iterator[Problem]:
    """Nothing where no lab is known, or where an amount has no bound."""
    if case.facts.volumes is None and case.facts.capacities is None and case.facts.tips is None:
        return
    found = Ledger(case.program, case.facts, case.ranges, case.usual).needs()
    for key, amount in found.amounts.items():
        match key.kind:
            case "material" | "place":
                yield from _drawn(case, found, key, amount)
            case "into":
                yield from _room(case, found, key, amount)
            case "pick":
                yield from _picks(case, found, key, amount)
            case "tips":
                yield from _tips(case, found, amount)
            case "tip":
                yield from _sized_tips(case, found, key, amount)


def _drawn(case: Case, found: Needs, key: Key, amount: Amount) -> Iterator[Problem]:
    facts = case.facts
    if key.kind == "material":
        has = None if facts.volumes is None or key.name.startswith("=") else facts.volumes.get(key.name, 0.0)
        what, where = key.name, "the deck has"
    else:
        has = (
            None if facts.usable_at is None or Key("into", key.name) in found.amounts else facts.usable_at.get(key.name)
        )
        what, where = (facts.material_at or {}).get(key.name, "liquid"), f"{key.name} has"
    if has is None or amount.greatest is None or amount.greatest <= has + SLACK:
        return
    message = f"this needs {amount.greatest:.6g} µL {what} on the worst path, {where} {has:.6g} µL"
    yield case.problem("P502", message, found.paths[key], f"fill up {what}, or need less{_usually(amount, 'µL')}")


def _usually(amount: Amount, unit: str) -> str:
    if amount.greatest is None or amount.expected >= amount.greatest:
        return ""
    return f": it is {f'{amount.expected:.6g} {unit}'.strip()} when all goes well"


def _room(case: Case, found: Needs, key: Key, amount: Amount) -> Iterator[Problem]:
    facts = case.facts
    if facts.capacities is None or Key("place", key.name) in found.amounts:
        return
    cell = getattr(labware, "CELL_CAPACITY", None)
    capacity = cell if key.name == SAMPLE else facts.capacities.get(key.name)
    has = (facts.contents_at or {}).get(key.name, 0.0)
    if capacity is None or amount.greatest is None or has + amount.greatest <= capacity + SLACK:
        return
    what = "the sample" if key.name == SAMPLE else key.name
    holds = f" beside the {has:.6g} µL that are there" if has else ""
    message = f"this puts {amount.greatest:.6g} µL into {what} on the worst path{holds}, it takes {capacity:.6g} µL"
    yield case.problem("P505", message, found.paths[key], f"put less into it{_usually(amount, 'µL')}")


def _picks(case: Case, found: Needs, key: Key, amount: Amount) -> Iterator[Problem]:
    if key.name in case.facts.gone:
        message = f"this picks at {key.name}, where nothing lies any more"
        mend = f"lay a part there: `labd load {key.name} --fill …`, or pick elsewhere"
        yield case.problem("P504", message, found.paths[key], mend)
        return
    if key.name in case.facts.bare:
        if not _filled(found, key.name):
            mend = f"name a place where one lies, or lay one there: `labd load {key.name} --fill …`"
            yield case.problem("P504", f"nothing lies at {key.name}", found.paths[key], mend)
        return
    part = (case.facts.stock or {})[key.name]
    if amount.expected > 1 + SLACK:
        message = f"this picks {amount.expected:g} of `{part}` at {key.name}, where one lies"
        yield case.problem("P504", message, found.paths[key], "pick each at a place of its own: `repeat: {over: [..]}`")
        return
    has = None if case.facts.parts is None else case.facts.parts.get(part, 0)
    needed = found.parts[part].greatest
    if has is not None and needed is not None and needed > has + SLACK:
        message = f"this needs {needed:g} of `{part}`, the lab has {has}"
        yield case.problem("P504", message, found.paths[key], f"put more of `{part}` there")


def _filled(found: Needs, place: str) -> bool:
    """Whether the run itself may have set something down at a place: also at one that is only known in a run."""
    put = {key.name for key in found.amounts if key.kind == "put"}
    return place in put or any(name.startswith("=") for name in put)


def _tips(case: Case, found: Needs, amount: Amount) -> Iterator[Problem]:
    has = _most_tips(case)
    if any(key.kind == "tip" for key in found.amounts):
        return  # each size is looked at by itself
    if has is None or amount.greatest is None or amount.greatest <= has + SLACK:
        return
    message = f"this needs {amount.greatest:g} tips on the worst path, the robot's deck has {has}"
    mend = f"put more racks there, or need fewer{_usually(amount, '')}"
    yield case.problem("P503", message, found.paths[TIPS], mend)


def _sized_tips(case: Case, found: Needs, key: Key, amount: Amount) -> Iterator[Problem]:
    """Tips of one size, of the one robot that there is."""
    has = sum(sizes.get(int(key.name), 0) for sizes in (case.facts.tips or {}).values())
    if amount.greatest is None or amount.greatest <= has + SLACK:
        return
    message = f"this needs {amount.greatest:g} tips of {key.name} µL on the worst path, the robot's deck has {has}"
    mend = f"put more racks of them there, or need fewer{_usually(amount, '')}"
    yield case.problem("P503", message, found.paths[key], mend)


def _most_tips(case: Case) -> int | None:
    """On the robot that has the most: one robot serves a run."""
    tips = case.facts.tips
    return None if tips is None else max((sum(sizes.values()) for sizes in tips.values()), default=0)
