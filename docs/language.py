"""The page about the protocol language: its keys from the models, its examples from docs/reference/examples."""  # noqa: INP001 - part of a script

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from labd.expr.closures import FUNCTIONS
from labd.files import CODES
from labd.protocol import model
from labd.protocol.names import RUN, SAMPLE
from labd.protocol.views.keys import bare, forms, keys_of, told
from labd.sdk import units

EXAMPLES = Path(__file__).parent / "reference" / "examples"
PARTS = Path(__file__).parent / "parts"
_CONDITIONS = ("if", "until")
_DURATIONS = ("within", "at_least", "for", "delay", "wait")
_UNITS = (
    "s ms min h day µL mL L nL kN N mN V mV µV A mA µA nA Ω kΩ mΩ Hz kHz MHz mHz g mg µg kg °C degC K mm cm µm m "
    "mAh Ah µAh C V/s mV/s µL/s mL/min mm/s mol/L mmol/L mol/kg g/mL kg/m^3 mbar bar Pa kPa S/m mPa*s W mW Wh mWh J "
    "mAh/g Ah/kg ppm %"
)

_OPERATORS = (
    ("`x if c else y`", "one of two values, by a condition"),
    ("`or`", "one of them holds"),
    ("`and`", "both hold"),
    ("`not`", "it does not hold"),
    ("`==` `!=` `<` `<=` `>` `>=`", "comparison; texts, true and false have `==` and `!=` only"),
    ("`in [a, b]`, `not in [a, b]`", "whether a value is in a list"),
    ("`+` `-`", "sum and difference, of one dimension"),
    ("`*` `/`", "product and quotient; dimensions follow: `1 mAh / 1 h` is a current"),
    ("`-x`", "the opposite"),
    ("`( )`", "what belongs together"),
)

_FUNCTIONS = {
    "min": ("`min(a, b)`, `min(list)`", "the least"),
    "max": ("`max(a, b)`, `max(list)`", "the greatest"),
    "abs": ("`abs(x)`", "without its sign"),
    "round": ("`round(x)`, `round(x, digits)`", "the nearest number; of numbers without a unit only"),
    "sum": ("`sum(list)`", "the sum"),
    "mean": ("`mean(list)`", "the mean"),
    "len": ("`len(list)`, `len(text)`", "how many there are"),
}


def language() -> Iterator[str]:
    """The page, piece by piece."""
    yield "# The protocol language, version 1"
    yield _part("introduction")
    yield "## The file"
    yield _keys(model.ProtocolFile)
    yield from _element("Parameters", model.Parameter, "parameters")
    yield from _element("Roles", model.RoleUse, "roles")
    yield "## States"
    yield "A state has steps, or is one step itself; an end has none. All but ends may have these keys too."
    yield _keys(model.Working)
    yield from _element("`steps`: a state of several steps", model.StepsState, "if", own=True)
    yield from _element("`end`", model.EndState, "end")
    yield from _element("`next`", model.Branch, "next")
    yield from _element("`hold`", model.HoldTarget, "hold")
    yield from _element("`max_visits`", model.VisitLimit, "max_visits")
    yield from _element("`catch`", model.Catch, "catch")
    yield from _element("`watch`", model.Watch, "watch")
    yield "## Steps"
    yield "Each step has one of these keys, which tells what it is."
    for key, kind in model.STEP_KINDS.items():
        more = {
            "do": (model.Retry,),
            "wait": (model.UntilSpec,),
            "ask": (model.InputSpec,),
            "repeat": (model.RepeatSpec,),
        }
        examples = {"do": ("do", "retry"), "call": ("call", "rest_and_read")}
        yield from _step(key, kind, more.get(key, ()), examples.get(key, (key,)))
    yield from _element("Windows", model.Window, "windows", level=2)
    yield "## `cleanup`"
    yield "Steps that are done when a run is stopped, aborted or scrapped, on those devices that still answer."
    yield _example("cleanup")
    yield from _values()
    yield from _expressions()
    yield _part("running")
    yield "## What `labd check` tells"
    yield _table(("code", "what is wrong"), ((f"`{code}`", text) for code, text in CODES.items() if code[0] == "P"))


def _element(title: str, part: type[BaseModel], example: str, *, own: bool = False, level: int = 3) -> Iterator[str]:
    yield f"{'#' * level} {title}"
    yield told(part)
    yield _keys(part, own=own)
    yield _example(example)


def _step(
    key: str, kind: type[BaseModel], more: tuple[type[BaseModel], ...], examples: tuple[str, ...]
) -> Iterator[str]:
    yield f"### `{key}`"
    yield told(kind)
    yield _keys(kind)
    for part in more:
        yield told(part)
        yield _keys(part)
    for name in examples:
        yield _example(name)


def _part(name: str) -> str:
    return (PARTS / f"language-{name}.md").read_text(encoding="utf-8").rstrip()


def _example(name: str) -> str:
    text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    return f"```yaml\n{text.rstrip()}\n```"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _keys(part: type[BaseModel], *, own: bool = False) -> str:
    shown = [key for key in keys_of(part) if not own or key.name in part.__annotations__]
    rows = []
    for key in shown:
        default = "required" if key.required else _default(key.default)
        rows.append((f"`{key.name}`", _type(key.annotation, key.name), default, f"{_capital(key.meaning)}"))
    return _table(("key", "type", "default", "meaning"), rows)


def _default(value: Any) -> str:
    return f"`{value}`" if value not in (None, "", (), {}) else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _type(annotation: Any, name: str) -> str:
    base, demands = bare(annotation)
    parts = forms(annotation)
    kinds = {bare(part)[0] for part in parts}
    if kinds in (set(model.STEP_KINDS.values()), set(model.STATE_KINDS.values())):
        return "step" if model.DoStep in kinds else "state"
    if len(parts) > 1:
        return " or ".join(_type(part, name) for part in parts).replace("name or hold", "state or hold")
    if parts[0] is not annotation:
        return _type(parts[0], name)
    return _plain(base, demands, name) or _compound(base, name)


def _plain(base: Any, demands: dict[str, Any], name: str) -> str:
    if base is Any:
        return "duration" if name in _DURATIONS else "value"
    if base is str and demands.get("pattern") == f"^{model.NAME}$":
        return "name"
    if base is str:
        return "condition" if name in _CONDITIONS else "text"
    if base is int:
        return f"whole number from {demands['ge']} to {demands['le']:,}" if "ge" in demands else "whole number"
    return ""


def _compound(base: Any, name: str) -> str:
    origin, parts = get_origin(base), get_args(base)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {_plural(_type(parts[0], name))}"
    if origin is dict:
        return f"names with {_plural(_type(parts[1], name))}"
    return "hold" if base is model.HoldTarget else "mapping"


def _plural(text: str) -> str:
    if text.startswith("list of") or " or " in text:
        return text
    return f"{text}s"


# ── values and expressions ───────────────────────────────────────────────────────────────────────────────────────
def _values() -> Iterator[str]:
    yield "## Values"
    yield _part("values")
    by_dimension: dict[str, list[str]] = {}
    for text in _UNITS.split():
        by_dimension.setdefault(units.unit(text).dimension, []).append(f"`{text}`")
    rows = [(name, f"`{unit}`", " ".join(by_dimension.get(name, ()))) for name, unit in units.DEFAULT_UNITS.items()]
    yield _table(("dimension", "default unit", "for example"), rows)


def _expressions() -> Iterator[str]:
    yield "## Expressions"
    yield _part("expressions")
    yield _table(("operator, from the weakest to the strongest", "meaning"), _OPERATORS)
    yield _table(("function", "meaning"), (_FUNCTIONS[name] for name in FUNCTIONS))
    yield _table(("name", "what it is"), _names())


def _names() -> Iterator[tuple[str, str]]:
    yield "a parameter's name", "its value in this run"
    yield "`result.field`", "a field of the result that a step named with `as`; of a question `choice`, `value`, `by`"
    yield "a variable's name", "what the last `set` gave it"
    yield "`role.signal`", "what the device reports now, `cycler.voltage`; see the roles for all signals"
    yield "`role.place`, `role.device`", "the place of the role's unit (`press/nest`), and the device's name"
    words = {"id": "the sample's name", "position": "where it is now", "home": "where it was when the run began"}
    words |= {"barcode": "the code that stands on it; empty where none is registered"}
    words |= {"active_mass": "its mass of active material as registered, `labd sample ID --active-mass '12.3 mg'`"}
    words |= {"specific_capacity": "of that material, as registered, `--about specific_capacity='160 mAh/g'`"}
    for name in SAMPLE.fields:
        yield f"`sample.{name}`", words[name]
    for name in RUN.fields:
        yield f"`run.{name}`", {"id": "the run's name"}[name]
    yield "`visits`", "how often this state has been entered, this time included"
    yield "`index`", "inside a `repeat`: which turn this is, from 1"
    yield "`rejected`", "in the `if` of a `retry`: whether the action was rejected"


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)
