"""Values as people write them in lab.yaml: names, texts, whole numbers, quantities with their unit, days."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from labd.files.shapes import describe, short
from labd.sdk import units
from labd.sdk.units import UnitError

CENTURY = 3.2e9  # s


class Part(BaseModel):
    """Base of all parts of lab.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def flaw(code: str, message: str, mend: str = "") -> PydanticCustomError:
    """An error that a validator raises with its own code, words and mend."""
    return PydanticCustomError(code, "{message}", {"message": message, "mend": mend})


def plain(value: Any) -> Any:
    """A tree without the reader's numbers that remember their text: for drivers and simulators."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and hasattr(value, "text"):
        return int(value) if isinstance(value, int) else float(value)
    return value


def _text(value: object) -> object:
    """A number where a text belongs is that text: `lot: 412`."""
    return getattr(value, "text", value)


def _day(value: object) -> object:
    if isinstance(value, dt.date):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise flaw("L103", f"there is no day `{value}`", "write year, month and day: `2026-12-31`") from None
    raise flaw("L103", f"a day belongs here, not {describe(value)}", "write year, month and day: `2026-12-31`")


@dataclass(frozen=True, slots=True)
class Written:
    """Marks a float that is written as a quantity, `12 mL`, and read into a unit.

    Args:
        unit: the dimension's default unit.
        least, most: bounds in that unit, both included.
    """

    unit: str
    least: float | None = None
    most: float | None = None

    def read(self, value: object) -> float:
        """The number in the unit. Raises PydanticCustomError with a code of CODES."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            given = short(value)
            raise flaw("L105", f"`{given}` needs a unit", f"write `{given} {self.unit}` where that is meant")
        if not isinstance(value, str):
            what = units.unit(self.unit).dimension
            raise flaw("L103", f"a {what} belongs here, not {describe(value)}", f"write one like `1 {self.unit}`")
        try:
            found = units.parse(value).to(self.unit)
        except UnitError as error:
            raise flaw("L105", str(error), f"write one like `1 {self.unit}`") from None
        low, high = -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most
        if found < low:
            raise flaw("L104", f"`{short(value)}` is below the least, {units.plain(low, self.unit)}")
        if found > high:
            raise flaw("L104", f"`{short(value)}` is above the greatest, {units.plain(high, self.unit)}")
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^\s*[+-]?[0-9.].*\S\s*$", "examples": [f"1 {self.unit}"]}


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
# Of these, ids of alarms are made: `device-NAME-down`, `interlock-NAME`, and NAME-estop is an interlock's name.
DeviceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$", max_length=48)]
InterlockName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$", max_length=54)]
PartName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
PlaceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,32}){1,3}$")]
Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
Line = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
Whole = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Port = Annotated[int, Field(strict=True, ge=0, le=65535)]
Day = Annotated[dt.date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Volume = Annotated[float, Written("µL", least=0)]
Settings = Annotated[dict[str, Any], BeforeValidator(plain)]
