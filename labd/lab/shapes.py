"""Pydantic's findings about lab.yaml and its companions, in plain words, with code, place and mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from labd.expr import did_you_mean, nearest
from labd.files import CODES, Path
from labd.files.shapes import WANTED, describe, essential, keys_at, short
from labd.lab.findings import Findings


@dataclass(frozen=True, slots=True)
class Flaw:
    """One finding: what stands at a path of the file, or (`key`) the key there."""

    code: str
    message: str
    path: Path
    mend: str = ""
    key: bool = False


_MISSING = {
    "labd": "begin with `labd: 1`",
    "lab": "name the lab: `lab: glovebox-2`",
    "store": "say where journal and signals go: `store: /var/lib/labd`",
    "devices": "list what the lab has: `devices: {press: {driver: plc_crimper, …}}`",
    "driver": "name the driver: `driver: opentrons`",
    "place": "say where it stands: `place: ot2/1`",
    "labware": "say what stands there: `labware: cell_tray_8`",
    "material": "name the liquid: `material: LP57`",
    "volume": "say how much there is: `volume: 12 mL`",
    "pose": "write `pose: [x, y, z, a, b, g]`: mm, then degrees",
    "scaled": "write `{scaled: 60}`",
}
_PATTERNS = {
    "listen": "write address and port: `127.0.0.1:8040`",
    "place": "write device or place and slot: `ot2/1`, `tray/cells`",
}
_MENDS = {
    "broker": "write `broker: embedded`, or `broker: {host: …, port: 1883}`",
    "clock": "write `real`, `virtual` or `{scaled: 60}`",
    "simulator": "write `simulator: {}` for a simulated device",
}


def flaws_of(error: ValidationError, root: Any, tree: Any) -> Iterator[Flaw]:
    """All findings, less those that follow from another.

    Args:
        error: of the validation of `tree`.
        root: the type that it was validated as.
        tree: what the file says.
    """
    flaws = [(_path(flaw["loc"]), flaw) for flaw in essential(error)]
    unknown = [(path, _unknown_key(path, root, tree)) for path, flaw in flaws if flaw["type"] == "extra_forbidden"]
    meant = {(*path[:-1], near) for path, (_, near) in unknown}
    yield from (found for _, (found, _) in unknown)
    for path, flaw in flaws:
        if flaw["type"] == "extra_forbidden" or (flaw["type"] == "missing" and path in meant):
            continue  # what a misspelt key stands for is not missing as well
        yield _flaw(path, flaw)


def tell_flaws(findings: Findings, error: ValidationError, root: Any, tree: Any) -> None:
    """Tells all findings about a file, but where the reader has told something already."""
    told = {(problem.line, problem.column) for problem in findings.problems}
    found = Findings(findings.source, hide=findings.hide)
    for one in flaws_of(error, root, tree):
        found.tell(one.code, one.message, one.path, one.mend, key=one.key)
    findings.add(problem for problem in found.problems if (problem.line, problem.column) not in told)


def _path(loc: tuple[str | int, ...]) -> Path:
    """Tags of unions begin with @: they are no part of a path."""
    return tuple(part for part in loc if not (isinstance(part, str) and part.startswith("@")))


def _unknown_key(path: Path, root: Any, tree: Any) -> tuple[Flaw, str | None]:
    """The finding, and the key that is meant."""
    key = str(path[-1])
    parent = tree
    for part in path[:-1]:
        parent = parent[part]
    known = keys_at(root, path[:-1])
    free = [name for name in known if name not in parent]
    near = nearest(key, free)
    mend = did_you_mean(key, free if near else known, "the keys here are")
    return Flaw("L101", f"unknown key `{key}`", path, mend, key=True), near


def _flaw(path: Path, flaw: Any) -> Flaw:
    kind: str = flaw["type"]
    name = str(path[-1]) if path else "this"
    if name == "[key]":
        found = _value(path[:-1], str(path[-2]), kind, flaw)
        return replace(found, key=True)
    if kind == "missing":
        return Flaw("L102", f"`{name}` is missing", path[:-1], _MISSING.get(name, ""))
    if kind in CODES:
        return Flaw(kind, flaw["ctx"]["message"], path, flaw["ctx"]["mend"], key=flaw["input"] is None)
    if flaw["input"] is None:
        return Flaw("L103", f"`{name}` has no value", path, _MENDS.get(name, "write one, or delete the key"), key=True)
    return _value(path, name, kind, flaw)


def _value(path: Path, name: str, kind: str, flaw: Any) -> Flaw:
    given, context = flaw["input"], flaw.get("ctx", {})
    mend = _MENDS.get(name, "")
    if kind == "string_pattern_mismatch":
        message, mend = _name(str(given))
        if name in _PATTERNS:
            message, mend = f"`{short(given)}` does not belong here", _PATTERNS[name]
        return Flaw("L103", message, path, mend)
    if kind == "literal_error":
        options = [option.strip(" '\"") for option in context["expected"].replace(" or ", ", ").split(",")]
        near = did_you_mean(short(given), options, "it is one of")
        mend = near if near.startswith("did you mean") or not mend else mend
        return Flaw("L103", f"{describe(given)} does not belong here", path, mend)
    if kind in _COMPARED:
        bound = next(iter(context.values()))
        return Flaw("L104", f"`{name}` is {_COMPARED[kind]} {bound}, not {short(given)}", path, mend)
    if kind == "string_too_long":
        most, long = context["max_length"], len(str(given))
        return Flaw("L103", f"`{str(given)[:40]}…` has {long} characters", path, f"write at most {most}")
    if kind in ("string_too_short", "too_short"):
        return Flaw("L103", f"`{name}` is empty", path, "write what belongs there, or delete it")
    wanted = f"{WANTED[kind]}, not {describe(given)}" if kind in WANTED else None
    return Flaw("L103", wanted or str(flaw["msg"]).removeprefix("Value error, "), path, mend)


_COMPARED = {
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
    "greater_than": "more than",
    "less_than": "less than",
}


def _name(given: str) -> tuple[str, str]:
    """What is said of a text that is no name, and a better one where that can be told."""
    better = "-".join("".join(c if c.isascii() and (c.isalnum() or c == "_") else " " for c in given).split()).lower()
    mend = f"write `{better[:64]}`" if better and better != given else "a name has a to z, 0 to 9, `-` and `_`"
    return f"`{given[:40]}` is no name", mend
