"""What does not hold in a file of faults, each with its place and mend; and what is meant, once all of it holds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from simulators.faults.knobs import Knob
from simulators.faults.model import After, Fault, Faults
from simulators.faults.quantities import QuantityError, amount
from simulators.faults.words import ANYWHERE, COUNTERS, WORDS, Takes, Word

Path = tuple[str | int, ...]

_NO_UNIT = ("1", "text", "pattern")


@dataclass(frozen=True, slots=True)
class Flaw:
    """One finding: about what stands at a path of the file, or (`key`) about the key there."""

    code: str
    message: str
    path: Path
    mend: str = ""
    key: bool = False

    def __str__(self) -> str:
        return f"{self.code} {self.message}" + (f"; {self.mend}" if self.mend else "")


class FaultsError(Exception):
    """Faults that do not hold. Args: all flaws."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("\n".join(str(flaw) for flaw in flaws))
        self.flaws = tuple(flaws)


@dataclass(frozen=True, slots=True)
class Kind:
    """What can go wrong with one device: of its class's `FAULTS` and `COUNTERS`."""

    knobs: Mapping[str, Knob] = field(default_factory=dict)
    counters: Iterable[str] = ()

    @property
    def words(self) -> list[str]:
        """All faults that it knows; a device may know one of the wire better, in its own way."""
        return [word for word in WORDS if word in ANYWHERE or word in self.knobs]

    def takes(self, word: str) -> dict[str, Takes]:
        """What a fault takes in `with`."""
        its, knob = WORDS[word], self.knobs.get(word)
        if knob is None:
            return dict(its.takes)
        found = dict(knob.takes)
        if knob.unit is not None:
            name = its.amount or "amount"
            found[name] = Takes(knob.unit, "how much", knob.default, needed=knob.default is None)
        return found


@dataclass(frozen=True, slots=True)
class Spec:
    """One fault of one device as it is meant: quantities are numbers, defaults are filled in."""

    device: str
    word: str
    given: Mapping[str, Any]
    knob: Knob | None
    at: float | None = None
    after: After | None = None
    chance: float | None = None
    lasts: float | None = None
    times: int | None = None

    @property
    def layer(self) -> str:
        return "device" if self.knob is not None else WORDS[self.word].layer

    @property
    def units(self) -> dict[str, str]:
        """The units of the quantities among what is given."""
        takes = Kind({self.word: self.knob} if self.knob is not None else {}).takes(self.word)
        return {key: takes[key].unit for key in self.given if key in takes and takes[key].unit not in _NO_UNIT}


def check(tree: object, kinds: Mapping[str, Kind]) -> Faults:
    """A file of faults, as parsed, for a lab's devices. Raises FaultsError with all that does not hold."""
    if not isinstance(tree, dict) or "labd" not in tree:
        mend = "a file of faults begins with `labd: 1`, then `faults:`"
        raise FaultsError([Flaw("F103", "these are no faults", (), mend)])
    flaws: list[Flaw] = []
    listed = tree.get("faults")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        fault, found = _one(one, kinds)
        del fault
        flaws += [Flaw(f.code, f.message, ("faults", number, *f.path), f.mend, f.key) for f in found]
    try:
        faults = Faults.model_validate(tree)
    except ValidationError as error:
        told = {flaw.path[:2] for flaw in flaws}
        flaws += [flaw for flaw in _shape(error, Faults, tree) if flaw.path[:2] not in told]
        raise FaultsError(flaws) from None
    if flaws:
        raise FaultsError(flaws)
    return faults


def check_one(tree: object, kinds: Mapping[str, Kind]) -> list[Spec]:
    """One fault, as parsed; for each device that it is for. Raises FaultsError."""
    fault, flaws = _one(tree, kinds)
    if fault is None or flaws:
        raise FaultsError(flaws)
    return specs(fault, kinds)


def specs(fault: Fault, kinds: Mapping[str, Kind]) -> list[Spec]:
    """A fault that holds, for each device of these that it is for."""
    names = [name for name, kind in kinds.items() if fault.device in (name, "*") and fault.fault in kind.words]
    return [_spec(fault, name, kinds[name]) for name in names]


def _spec(fault: Fault, name: str, kind: Kind) -> Spec:
    given: dict[str, Any] = {}
    for key, its in kind.takes(fault.fault).items():
        given[key] = _given(fault.with_[key], its) if key in fault.with_ else its.default
    knob = kind.knobs.get(fault.fault)
    if knob is not None and knob.unit is not None:
        given["amount"] = given[WORDS[fault.fault].amount or "amount"]
    return Spec(name, fault.fault, given, knob, fault.at, fault.after, fault.chance, fault.for_, fault.times)


def _given(value: object, its: Takes) -> object:
    """Raises QuantityError."""
    if its.unit not in ("text", "pattern"):
        return amount(value, its.unit)
    if not isinstance(value, str):
        raise QuantityError(f"a text belongs here, not `{value}`", "quote it")
    if its.choices and value not in its.choices:
        raise QuantityError(f"`{value}` does not belong here", _near(value, its.choices, "it is one of"))
    if its.unit == "pattern":
        try:
            re.compile(value.encode("latin-1", "replace"))
        except re.error as error:
            raise QuantityError(f"`{value[:60]}` is no regular expression: {error}", "write `\\.` for a dot") from None
    return value


# ── one fault ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _one(tree: object, kinds: Mapping[str, Kind]) -> tuple[Fault | None, list[Flaw]]:
    try:
        fault = Fault.model_validate(tree)
    except ValidationError as error:
        return None, list(_shape(error, Fault, tree))
    return fault, list(_meant(fault, kinds))


def _meant(fault: Fault, kinds: Mapping[str, Kind]) -> Iterator[Flaw]:
    if fault.device != "*" and fault.device not in kinds:
        mend = _near(fault.device, kinds, "there is", "`*` for all")
        yield Flaw("F201", f"there is no simulated device `{fault.device}`", ("device",), mend)
        return
    word = WORDS.get(fault.fault)
    if word is None:
        words = list(WORDS) if fault.device == "*" else kinds[fault.device].words
        yield Flaw("F202", f"there is no fault `{fault.fault}`", ("fault",), _near(fault.fault, words, "it knows"))
        return
    meant = [name for name, kind in kinds.items() if fault.device in (name, "*") and fault.fault in kind.words]
    if not meant:
        who = "no device here" if fault.device == "*" else f"`{fault.device}`"
        knows = "" if fault.device == "*" else f"it knows {', '.join(kinds[fault.device].words)}"
        yield (
            Flaw("F203", f"{who} has the fault `{fault.fault}`", ("fault",), knows)
            if fault.device == "*"
            else Flaw("F203", f"{who} does not have the fault `{fault.fault}`", ("fault",), knows)
        )
        return
    for name in meant:
        found = [*_with(fault, kinds[name]), *_when(fault, word, kinds[name])]
        yield from found
        if found:  # of many devices the first tells it
            return


def _with(fault: Fault, kind: Kind) -> Iterator[Flaw]:
    takes = kind.takes(fault.fault)
    for key, value in fault.with_.items():
        if key not in takes:
            mend = _near(key, takes, "it takes") if takes else "it takes nothing: delete it"
            yield Flaw("F204", f"`{fault.fault}` takes no `{key}`", ("with", key), mend, key=True)
            continue
        try:
            _given(value, takes[key])
        except QuantityError as error:
            code = "F103" if takes[key].unit in ("text", "pattern") else "F105"
            yield Flaw(code, error.message, ("with", key), error.mend)
    for key, its in takes.items():
        if its.needed and key not in fault.with_:
            unit = "" if its.unit in ("1", "text", "pattern") else f" {its.unit}"
            mend = f"write `with: {{{key}: 1{unit}}}`" if its.unit != "text" else f"write `with: {{{key}: …}}`"
            yield Flaw("F204", f"`{fault.fault}` needs `{key}`: {its.about}", ("fault",), mend)


def _when(fault: Fault, word: Word, kind: Kind) -> Iterator[Flaw]:
    knob = kind.knobs.get(fault.fault)
    counters = (*COUNTERS, *kind.counters)
    if fault.after is not None:
        if fault.after.of not in counters:
            mend = _near(fault.after.of, counters, "it counts")
            yield Flaw("F205", f"`{fault.device}` does not count `{fault.after.of}`", ("after", "of"), mend)
        elif fault.after.matching is not None and fault.after.of not in ("requests", "replies"):
            mend = "delete it, or count requests or replies"
            yield Flaw("F204", "only messages can match", ("after", "matching"), mend, key=True)
    momentary = knob is None and word.layer in ("line", "power")
    if (
        fault.times is not None
        and fault.chance is None
        and not ((knob is not None and knob.times) or (knob is None and word.layer == "message"))
    ):
        mend = "say how long with `for`, or give it a `chance`" if not momentary else "give it a `chance`"
        yield Flaw("F204", f"`{fault.fault}` cannot be told how many times", ("times",), mend, key=True)
    if fault.for_ is not None and word.layer == "power" and knob is None:
        yield Flaw("F204", "a power cycle is as long as it is off", ("for",), "write `with: {off: 30 s}`", key=True)


# ── shape ────────────────────────────────────────────────────────────────────────────────────────────────────────────
_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
    "list_type": "a list",
}
_MENDS = {
    "device": "name the device: `device: press`",
    "fault": "say what goes wrong: `fault: drop`",
    "count": "say how many: `after: {count: 3, of: requests}`",
    "after": "write `after: {count: 3, of: requests}`",
    "faults": "list them: `- {device: press, fault: drop, times: 1}`",
    "with": "write `with: {delay: 5 s}`",
}


def _shape(error: ValidationError, root: type[BaseModel], tree: object) -> Iterator[Flaw]:
    for one in error.errors(include_url=False):
        path, kind, context = tuple(one["loc"]), one["type"], one.get("ctx", {})
        name = str(path[-1]) if path else "this"
        if kind == "extra_forbidden":
            known = [key for key in _keys(root, path[:-1]) if key not in _at(tree, path[:-1])]
            yield Flaw("F101", f"unknown key `{name}`", path, _near(name, known, "the keys here are"), key=True)
        elif kind == "missing":
            yield Flaw("F102", f"`{name}` is missing", path[:-1], _MENDS.get(name, ""))
        elif kind.startswith("F1"):
            yield Flaw(kind, context["message"], path, context["mend"])
        elif kind in ("greater_than", "greater_than_equal", "less_than_equal"):
            words = {"greater_than": "more than", "greater_than_equal": "at least", "less_than_equal": "at most"}
            bound = next(iter(context.values()))
            yield Flaw("F104", f"`{name}` is {words[kind]} {bound}, not {one['input']}", path)
        elif kind == "literal_error":
            yield Flaw("F103", f"`{name}` is {context['expected']}, not `{one['input']}`", path, "write `labd: 1`")
        else:
            message = f"{_WANTED[kind]} belongs here" if kind in _WANTED else str(one["msg"])
            yield Flaw("F103", message, path, _MENDS.get(name, ""))


def _keys(root: type[BaseModel], path: Path) -> list[str]:
    model: type[BaseModel] = root
    for part in path:
        model = Fault if isinstance(part, int) else After if part == "after" else model
    return [its.alias or name for name, its in model.model_fields.items()]


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _near(word: str, known: Iterable[str], otherwise: str, more: str = "") -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, 1, 0.7)
    if near:
        return f"did you mean `{near[0]}`?"
    told = ", ".join([*names, *([more] if more else [])])
    return f"{otherwise} {told}" if told else ""
