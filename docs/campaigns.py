"""The page about campaign files: their keys from the models, and the campaign that ships."""  # noqa: INP001 - part of a script

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from labd.campaign import model
from labd.campaign.optimisers import OPTIMISERS
from labd.files import CODES
from labd.protocol.views.keys import keys_of, told

ROOT = Path(__file__).parents[1]
PARTS = (
    ("`space`: what may be chosen", model.DimensionSpec),
    ("`parts` of a mixture", model.MixturePart),
    ("`objectives`: what is wanted", model.ObjectiveSpec),
    ("`budget`: what may be spent", model.BudgetSpec),
    ("`costs`: what one experiment costs", model.CostsSpec),
    ("`stop`: when it is enough", model.StopSpec),
    ("`optimiser`: who proposes", model.OptimiserSpec),
    ("`prior`: what is known before", model.LawSpec),
)
_WORDS = {float: "number", int: "whole number", bool: "true or false", str: "text", Any: "value"}


def campaigns() -> Iterator[str]:
    """The page, piece by piece."""
    yield "# Campaign files, version 1"
    yield (
        "A campaign is a closed loop: an optimiser proposes points of a space, the lab makes and measures a sample of "
        "each by a protocol, and what was measured goes back to the optimiser. Its file is YAML as protocols are, "
        "checked by `labd check`; [how to run one](../how-to/run-a-campaign.md)."
    )
    yield f"```yaml\n{(ROOT / 'campaigns' / 'carbonate_screening.yaml').read_text(encoding='utf-8').rstrip()}\n```"
    yield "## The file"
    yield _keys(model.CampaignFile)
    for title, part in PARTS:
        yield f"### {title}"
        yield told(part)
        yield _keys(part)
    yield "## Expressions"
    yield (
        "They are those of [protocols](language.md#expressions), with units, and are checked before anything moves. "
        "`constraints`, `parameters`, `costs` and `prior` know the names of the space, the parts of mixtures among "
        "them; a part is a share, a plain number. `value` of an objective knows these and `results.NAME`, the "
        "protocol's own `results:`. `stop.when` knows `best.NAME`, the objectives at the best point, `experiments`, "
        "`failed` and `rounds`."
    )
    yield "## Who proposes"
    yield (
        f"{', '.join(f'`{name}`' for name in OPTIMISERS)}, and `external`: a program outside, over "
        "[REST or MQTT](../how-to/optimisers-outside.md)."
    )
    yield "## What `labd check` tells"
    rows = [f"| [`{code}`](checks.md#{code.lower()}) | {text} |" for code, text in CODES.items() if code[0] == "C"]
    yield "\n".join(["| code | what is wrong |", "|---|---|", *rows])


def _keys(part: type[BaseModel]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in keys_of(part):
        default = "required" if key.required else _default(key.default)
        meaning = key.meaning[:1].upper() + key.meaning[1:]
        lines.append(f"| `{key.name}` | {_kind(key.annotation)} | {default} | {meaning} |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in (None, "", (), {}) and not isinstance(value, BaseModel) else ""


def _kind(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        found = _kind(parts[0])
    elif origin in (Union, types.UnionType):
        found = " or ".join(_kind(part) for part in parts if part is not type(None))
    elif origin is Literal:
        found = " or ".join(f"`{part}`" for part in parts)
    elif origin is tuple:
        found = f"list of {_kind(parts[0])}s"
    elif origin is dict:
        found = f"names with {_kind(parts[1])}s"
    else:
        found = _WORDS.get(annotation, "mapping")
    return found.replace("names with names with", "levels with names with")
