"""Sizes of files and disks as people write them in lab.yaml: `200 MB`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from labd.files.shapes import describe, short
from labd.lab.written import flaw

SIZES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]{1,6})\s*")


@dataclass(frozen=True, slots=True)
class Size:
    """Marks bytes that are written with their unit, and read into a number of them.

    Args:
        least: the fewest bytes, included.
    """

    least: int = 0

    def read(self, value: object) -> int:
        """The bytes. Raises PydanticCustomError with a code of CODES."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            given = short(value)
            raise flaw("L105", f"`{given}` needs a unit", f"write `{given} MB` where that is meant")
        if not isinstance(value, str):
            raise flaw("L103", f"a size belongs here, not {describe(value)}", "write one like `200 MB`")
        parts = _SIZE.fullmatch(value)
        if parts is None or parts[2] not in SIZES:
            raise flaw("L105", f"`{short(value)}` is no size", f"write one like `200 MB`; there are {', '.join(SIZES)}")
        found = round(float(parts[1]) * SIZES[parts[2]])
        if found < self.least:
            raise flaw("L104", f"`{short(value)}` is below the least, {size_text(self.least)}")
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": rf"^\s*[0-9.]+\s*({'|'.join(SIZES)})\s*$", "examples": ["200 MB"]}


def size_text(count: float) -> str:
    """Bytes as people read them: `1.5 GB`."""
    unit = next((unit for unit in ("TB", "GB", "MB") if count >= SIZES[unit]), "kB")
    return f"{count / SIZES[unit]:.3g} {unit}"
