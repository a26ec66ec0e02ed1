"""`labd schema --of campaign`: campaign files as JSON Schema 2020-12, so that editors complete and check."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from labd.campaign import model
from labd.protocol.views.keys import meanings_of, told

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def campaign_schema() -> dict[str, Any]:
    """Which keys there are and what kind of value belongs to each; units, names and sums are `labd check`'s."""
    whole = model.CampaignFile.model_json_schema()
    parts: dict[str, type[BaseModel]] = {
        name: found for name, found in vars(model).items() if isinstance(found, type) and issubclass(found, model.Part)
    }
    for name, found in {**whole.get("$defs", {}), "CampaignFile": whole}.items():
        if name in parts:
            _describe(found, parts[name])
    return {"$schema": DIALECT, **whole, "title": "labd campaign, version 1"}


def _describe(schema: dict[str, Any], part: type[BaseModel]) -> None:
    """What each key means, from the docstring; defaults that nobody writes are left away."""
    schema["description"] = told(part)
    for name, meaning in meanings_of(part).items():
        entry = schema.get("properties", {}).get(name)
        if entry is not None:
            entry["description"] = meaning[:1].upper() + meaning[1:]
            entry.pop("title", None)
            if entry.get("default", "") in (None, "", [], {}):
                entry.pop("default", None)
