"""A file of faults, as frozen models."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from simulators.faults.quantities import QuantityError, seconds
from simulators.faults.words import WORDS


def flaw(code: str, message: str, mend: str = "") -> PydanticCustomError:
    """What a validator raises: it keeps its code and its mend."""
    return PydanticCustomError(code, "{message}", {"message": message, "mend": mend})


def _seconds(given: object) -> object:
    if given is None:
        return None
    try:
        return seconds(given)
    except QuantityError as error:
        raise flaw("F105", error.message, error.mend) from None


def _pattern(text: str) -> str:
    try:
        re.compile(text.encode("latin-1", "replace"))
    except re.error as error:
        raise flaw("F103", f"`{text[:60]}` is no regular expression: {error}", "write `\\.` for a dot") from None
    return text


Time = Annotated[float | None, BeforeValidator(_seconds), WithJsonSchema({"type": "string"})]
Pattern = Annotated[str, AfterValidator(_pattern)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class After(_Model):
    """How much must have happened first."""

    count: Annotated[int, Field(ge=1, description="After so many; the next one is the first that it can hit.")]
    of: Annotated[str, Field(description="Of what: requests, replies, connections, or a counter of the device.")] = (
        "requests"
    )
    matching: Annotated[
        Pattern | None, Field(description="Only messages in which this regular expression is found.")
    ] = None


class Fault(_Model):
    """One thing that goes wrong."""

    device: Annotated[str, Field(description="The device's name in lab.yaml; `*` for all that know the fault.")]
    fault: Annotated[str, Field(description="What goes wrong.", json_schema_extra={"enum": list(WORDS)})]
    with_: Annotated[dict[str, Any], Field(alias="with", description="How: what the fault takes.")] = Field(
        default_factory=dict
    )
    at: Annotated[Time, Field(description="Not before this lab time after the start: 10 min.")] = None
    after: Annotated[After | None, Field(description="Not before so much has happened.")] = None
    chance: Annotated[
        float | None,
        Field(gt=0, le=1, description="By chance: at each message. Without it, at each one, or at once."),
    ] = None
    for_: Annotated[Time, Field(alias="for", description="How long; without it until it is cleared.")] = None
    times: Annotated[int | None, Field(ge=1, description="So many times at most.")] = None


class Faults(_Model):
    """A file of faults."""

    labd: Annotated[Literal[1], Field(description="The version of this file's language.")]
    seed: Annotated[int | None, Field(description="Of its chances; default: the lab's.")] = None
    faults: Annotated[list[Fault], Field(description="What goes wrong, each by itself.")]


def faults_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file of faults."""
    schema = Faults.model_json_schema(by_alias=True)
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "labd faults"}
    return {**about, **{key: value for key, value in schema.items() if key != "title"}}
