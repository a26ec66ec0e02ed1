"""Cycling protocols of aurora-unicycler, as it writes them to JSON: https://empaeconversion.github.io/aurora-unicycler/.

Versions 0.2 to 0.4. Units are in the names; a positive current charges. An empty text stands for nothing, and so does 0
where a step could end.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from labd.expr import did_you_mean
from labd.files import InputErrors, Path, Problem, Reader, Source

VERSIONS = ("0.2", "0.3", "0.4")
_RATE = re.compile(r"(?P<times>[0-9]+(\.[0-9]*)?|\.[0-9]+)?(?P<way>[CD])?/(?P<hours>[0-9]+(\.[0-9]*)?|\.[0-9]+)")


def _number(value: object) -> object:
    """Numbers as they are, or as texts; an empty text is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        raise ValueError("a number belongs here")  # noqa: TRY004  # pydantic collects ValueErrors
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a number belongs here") from None
    if not math.isfinite(number):
        raise ValueError("a finite number belongs here")
    return number


def _rate(value: object) -> object:
    """A number per hour, or a fraction: C/2 is 0.5, D/2 is -0.5."""
    text = value.replace(" ", "") if isinstance(value, str) else ""
    found = _RATE.fullmatch(text)
    if found is None:
        return _number(value)
    if not float(found["hours"]):
        raise ValueError("a C-rate over 0 hours")
    return float(found["times"] or 1) / float(found["hours"]) * (-1 if found["way"] == "D" else 1)


def _target(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or (isinstance(value, int) and value < 1):
        raise ValueError("a tag belongs here, or the number of a step from 1")
    return value


Number = Annotated[float, BeforeValidator(_number)]
MaybeNumber = Annotated[float | None, BeforeValidator(_number)]
MaybeRate = Annotated[float | None, BeforeValidator(_rate)]
MaybePositive = Annotated[float | None, Field(gt=0), BeforeValidator(_number)]
MaybeNotNegative = Annotated[float | None, Field(ge=0), BeforeValidator(_number)]
Seconds = Annotated[float, Field(ge=0.001), BeforeValidator(_number)]
Hertz = Annotated[float, Field(ge=1e-5, le=1e7), BeforeValidator(_number)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Unicycler(_Part):
    """Who wrote the file."""

    version: str = ""


class Sample(_Part):
    name: str | None = None
    capacity_mAh: MaybePositive = None  # noqa: N815  # the format's name, as are those below


class Record(_Part):
    """When a row is kept: each so many seconds, and when a value has changed by so much."""

    time_s: Seconds
    current_mA: MaybePositive = None  # noqa: N815
    voltage_V: MaybePositive = None  # noqa: N815


class Safety(_Part):
    """Limits that end the whole experiment, once passed for so long."""

    max_voltage_V: MaybeNumber = None  # noqa: N815
    min_voltage_V: MaybeNumber = None  # noqa: N815
    max_current_mA: MaybeNumber = None  # noqa: N815
    min_current_mA: MaybeNumber = None  # noqa: N815
    max_capacity_mAh: MaybeNotNegative = None  # noqa: N815
    delay_s: MaybeNotNegative = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for what, low, high in (
            ("voltage", self.min_voltage_V, self.max_voltage_V),
            ("current", self.min_current_mA, self.max_current_mA),
        ):
            if low is not None and high is not None and low >= high:
                raise ValueError(f"the least {what} is not below the greatest")
        return self


class _Step(_Part):
    id: str | None = None


class OpenCircuit(_Step):
    step: Literal["open_circuit_voltage"]
    until_time_s: Seconds


class ConstantCurrent(_Step):
    """`rate_C` goes before `current_mA` where the capacity is known; the first end that is reached ends it."""

    step: Literal["constant_current"]
    rate_C: MaybeRate = None  # noqa: N815
    current_mA: MaybeNumber = None  # noqa: N815
    until_time_s: MaybeNotNegative = None
    until_voltage_V: MaybeNumber = None  # noqa: N815

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not (self.rate_C or self.current_mA):
            raise ValueError("neither `rate_C` nor `current_mA` says which current")
        if not (self.until_time_s or self.until_voltage_V):
            raise ValueError("neither `until_time_s` nor `until_voltage_V` says where it ends")
        return self


class ConstantVoltage(_Step):
    step: Literal["constant_voltage"]
    voltage_V: Number  # noqa: N815
    until_time_s: MaybeNotNegative = None
    until_rate_C: MaybeRate = None  # noqa: N815
    until_current_mA: MaybeNumber = None  # noqa: N815

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not (self.until_time_s or self.until_rate_C or self.until_current_mA):
            raise ValueError("none of `until_time_s`, `until_rate_C` and `until_current_mA` says where it ends")
        return self


class Impedance(_Step):
    """Potentiostatic with an amplitude in V, galvanostatic with one in mA. 0.2 averaged `measures_per_frequency`."""

    step: Literal["impedance_spectroscopy"]
    amplitude_V: MaybeNumber = None  # noqa: N815
    amplitude_mA: MaybeNumber = None  # noqa: N815
    start_frequency_Hz: Hertz  # noqa: N815
    end_frequency_Hz: Hertz  # noqa: N815
    points_per_decade: Annotated[int, Field(ge=1, le=100)] = 10
    measures_per_point: Annotated[int, Field(ge=1)] = Field(
        1, validation_alias=AliasChoices("measures_per_point", "measures_per_frequency")
    )
    drift_correction: bool | None = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.amplitude_V is not None and self.amplitude_mA is not None:
            raise ValueError("both `amplitude_V` and `amplitude_mA`")
        return self


class VoltageScan(_Step):
    """A sweep one way; new in 0.4."""

    step: Literal["voltage_scan"]
    start_voltage_V: Number  # noqa: N815
    end_voltage_V: Number  # noqa: N815
    scan_rate_mV_per_s: Annotated[float, Field(gt=0), BeforeValidator(_number)]  # noqa: N815


class Loop(_Step):
    """Back to a tag, or to a step by its number from 1, tags counted too; `cycle_count` is how often in all."""

    step: Literal["loop"]
    loop_to: Annotated[int | str, BeforeValidator(_target)] = 1
    cycle_count: Annotated[int, Field(ge=1)]


class Tag(_Step):
    step: Literal["tag"]
    tag: Annotated[str, Field(min_length=1)]


Technique: TypeAlias = Annotated[
    OpenCircuit | ConstantCurrent | ConstantVoltage | Impedance | VoltageScan | Loop | Tag,
    Field(discriminator="step"),
]
TECHNIQUES = (
    *("open_circuit_voltage", "constant_current", "constant_voltage", "impedance_spectroscopy", "voltage_scan"),
    *("loop", "tag"),
)
_WANTED = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping belongs here"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list belongs here"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number belongs here"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number belongs here"),
    "string_type": "a text belongs here",
}


class UnicyclerFile(_Part):
    unicycler: Unicycler = Unicycler()
    sample: Sample = Sample()
    record: Record
    safety: Safety = Safety()
    method: tuple[Technique, ...]


def read_unicycler(text: str, name: str) -> tuple[UnicyclerFile, Source]:
    """A file, and the places of all that stands in it.

    Raises:
        InputErrors: it is no JSON, or none of this format; with all that is wrong.
    """
    source = Source(name, text.replace("\t", " "))
    data = _json(source)
    try:
        reader = Reader(source)  # JSON is YAML: this finds the places, and keys that stand twice
        reader.read()
        twice = [problem for problem in reader.problems if problem.code == "P103"]
    except InputErrors as errors:
        if any(problem.code == "P105" for problem in errors.problems):
            raise
        twice = []
    if twice:
        raise InputErrors(twice)
    if not isinstance(data, dict) or "method" not in data:
        mend = "it has `record`, `safety` and `method`, the list of steps"
        raise InputErrors([source.at("P601", "this is no protocol of unicycler", 0, mend)])
    try:
        return UnicyclerFile.model_validate(data), source
    except ValidationError as error:
        raise InputErrors([_problem(source, flaw) for flaw in error.errors(include_url=False)]) from None


def _json(source: Source) -> Any:
    try:
        return json.loads(source.text)
    except json.JSONDecodeError as error:
        problem = source.at("P601", f"this is no JSON: {error.msg[:1].lower()}{error.msg[1:]}", error.pos)
        raise InputErrors([problem]) from None
    except (RecursionError, ValueError) as error:
        raise InputErrors([source.at("P601", f"this is no JSON that can be read: {error}", 0)]) from None


def _problem(source: Source, flaw: Any) -> Problem:
    """One of pydantic's errors, at its place."""
    path: Path = tuple(
        part for part in flaw["loc"] if part not in TECHNIQUES and part not in ("int", "constrained-str")
    )
    kind, given = flaw["type"], flaw["input"]
    where = told(path)
    if kind == "extra_forbidden":
        return source.problem("P111", f"{where}: unknown key", path, "delete it, or mend its spelling", key=True)
    if kind == "missing":
        return source.problem("P112", f"{where} is missing", path[:-1])
    if kind == "union_tag_not_found":
        return source.problem(
            "P112", f"{where} does not say which `step` it is", path, "it is one of: " + _techniques()
        )
    if kind == "union_tag_invalid":
        technique = str(given.get("step"))[:60]
        mend = did_you_mean(technique, TECHNIQUES)
        return source.problem("P601", f"{where}: unknown technique `{technique}`", (*path, "step"), mend)
    return source.problem("P113", f"{where}: {_message(flaw)}", path)


def _message(flaw: Any) -> str:
    kind, ctx = flaw["type"], flaw.get("ctx", {})
    if kind == "value_error":
        return str(ctx["error"])
    for bound, word in (("gt", "more than"), ("ge", "at least"), ("le", "at most")):
        if bound in ctx:
            return f"it is {word} {ctx[bound]:g}"
    return _WANTED.get(kind) or flaw["msg"][:1].lower() + flaw["msg"][1:]


def _techniques() -> str:
    return ", ".join(TECHNIQUES)


def told(path: Path) -> str:
    """A path as people write it: method[3].rate_C."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
