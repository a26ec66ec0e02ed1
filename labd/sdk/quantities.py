"""Types of quantities for parameters, results and signals: `force: Force` is a float in kN that knows it is one.

A field accepts `7.8 kN`, `{"v": 7.8, "u": "kN"}`, a `Quantity`, and a bare float that is already in the default unit.
Parameters models (what comes from people) refuse the bare float; see `labd.sdk.actions.Parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from labd.sdk import units
from labd.sdk.units import Quantity, UnitError


@dataclass(frozen=True, slots=True)
class In:
    """Marks a float as a quantity in a unit, which is its dimension's default unit."""

    unit: str

    @property
    def dimension(self) -> str:
        return units.unit(self.unit).dimension

    def convert(self, value: object) -> object:
        """A text, a Quantity or a `{"v", "u"}` becomes a float in this unit; the rest is pydantic's."""
        try:
            if isinstance(value, str):
                quantity = units.parse(value, self.unit)
            elif isinstance(value, Quantity):
                quantity = value
            elif isinstance(value, Mapping) and set(value) >= {"v", "u"}:
                if value["v"] is None:
                    return None
                quantity = Quantity(float(value["v"]), str(value["u"]))
            else:
                return value
            return units.convert(quantity.value, quantity.unit, self.unit)
        except UnitError as error:
            raise PydanticCustomError("quantity", "{reason}", {"reason": str(error)}) from error

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.convert, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "unit": self.unit}


@dataclass(frozen=True, slots=True)
class Plain:
    """Marks a float that is a number without a unit, and says which: `percent`, `C-rate, 1/h`."""

    what: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest value, both included, in the default unit; each layer may narrow, none widen."""

    min: float | None = None
    max: float | None = None

    def narrowed(self, other: Bounds) -> Bounds:
        """The bounds that satisfy both."""
        lows = [low for low in (self.min, other.min) if low is not None]
        highs = [high for high in (self.max, other.max) if high is not None]
        return Bounds(max(lows, default=None), min(highs, default=None))

    def problem(self, value: float, unit: str = "") -> str | None:
        """What is wrong with the value, in words, or None."""
        suffix = f" {unit}" if unit else ""
        if self.min is not None and not value >= self.min:
            return f"{value:.6g}{suffix} is below the least, {self.min:g}{suffix}"
        if self.max is not None and not value <= self.max:
            return f"{value:.6g}{suffix} is above the greatest, {self.max:g}{suffix}"
        return None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def check(value: float) -> float:
            problem = self.problem(value)
            if problem:
                raise PydanticCustomError("bounds", "{reason}", {"reason": problem, "value": value})
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = dict(handler(schema))
        if self.min is not None:
            found["minimum"] = self.min
        if self.max is not None:
            found["maximum"] = self.max
        return found


Duration = Annotated[float, In("s")]
Volume = Annotated[float, In("µL")]
Force = Annotated[float, In("kN")]
Voltage = Annotated[float, In("V")]
Current = Annotated[float, In("A")]
Resistance = Annotated[float, In("Ω")]
Frequency = Annotated[float, In("Hz")]
Mass = Annotated[float, In("g")]
Temperature = Annotated[float, In("°C")]
Length = Annotated[float, In("mm")]
Charge = Annotated[float, In("mAh")]
SpecificCharge = Annotated[float, In("mAh/g")]
ScanRate = Annotated[float, In("V/s")]
FlowRate = Annotated[float, In("µL/s")]
Speed = Annotated[float, In("mm/s")]
Concentration = Annotated[float, In("mol/L")]
Pressure = Annotated[float, In("mbar")]
Fraction = Annotated[float, In("ppm")]


@dataclass(frozen=True, slots=True)
class PlaceMark:
    """Marks a text as a place of the lab: `ot2/3/A1`, `press/nest`."""

    material: bool = False


Place = Annotated[str, PlaceMark()]
Source = Annotated[str, PlaceMark(material=True)]
"""A place, or the name of a material, which the lab turns into the place where it stands."""


def _marks(annotation: object) -> list[object]:
    """All Annotated metadata in an annotation, also inside `X | None` and `list[X]`."""
    found: list[object] = []
    if get_origin(annotation) is Annotated:
        found.extend(annotation.__metadata__)  # type: ignore[attr-defined]
    for part in get_args(annotation):
        if not isinstance(part, (In, Bounds, Plain, PlaceMark)):
            found.extend(_marks(part))
    return found


def marks(field: FieldInfo) -> list[object]:
    """The unit, bounds and place marks of a model's field."""
    return [*field.metadata, *_marks(field.annotation)]


def unit_of(field: FieldInfo) -> str | None:
    """The unit of a field, or None when it is no quantity."""
    return next((mark.unit for mark in marks(field) if isinstance(mark, In)), None)


def plain_of(field: FieldInfo) -> str | None:
    """What a number without a unit is, or None when nothing says that it has none."""
    return next((mark.what for mark in marks(field) if isinstance(mark, Plain)), None)


def bounds_of(field: FieldInfo) -> Bounds:
    """The bounds of a field, narrowed over all its marks."""
    found = Bounds()
    for mark in marks(field):
        if isinstance(mark, Bounds):
            found = found.narrowed(mark)
    return found


def is_place(field: FieldInfo) -> bool:
    """Whether a field names a place (or a material that stands at one)."""
    return any(isinstance(mark, PlaceMark) for mark in marks(field))


def with_units(model: BaseModel) -> dict[str, Any]:
    """A model as JSON in which every quantity carries its unit: `{"force": {"v": 7.8, "u": "kN"}}`.

    A list of quantities becomes `{"v": [..], "u": ..}`. What was None stays None.
    """
    plain = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        unit = unit_of(field)
        value = plain.get(name)
        if unit is not None and value is not None:
            plain[name] = {"v": value, "u": unit}
    return plain


def without_units(model: type[BaseModel], told: Mapping[str, Any]) -> dict[str, Any]:
    """The values of what `with_units` made of such a model, in default units; fields that it does not tell are None.

    Raises:
        UnitError: a quantity in a unit of another dimension.
    """
    found: dict[str, Any] = dict.fromkeys(model.model_fields)
    for name, value in told.items():
        unit = unit_of(model.model_fields[name]) if name in model.model_fields else None
        found[name] = value if unit is None else _in_unit(value, unit)
    return found


def _in_unit(value: Any, unit: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    given = value["v"]
    if isinstance(given, list):
        return [None if item is None else units.convert(float(item), str(value["u"]), unit) for item in given]
    return None if given is None else units.convert(float(given), str(value["u"]), unit)
