"""What a driver declares: units, effects, times, words. Looked at without a device."""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labd.io.transcript import Transcript
from labd.sdk import ROLES, Driver, Effect, Grade
from labd.sdk.quantities import plain_of, unit_of
from labd.testing.subject import Subject

_WORDS = re.compile(r"\w{2,}")


async def every_number_has_a_unit(subject: Subject, directory: Path) -> None:
    """Each float among settings, parameters, results, signals and data has a unit, or says that it has none."""
    del directory
    bare = [
        f"{where}.{name}"
        for where, model in _models(subject.driver)
        for name, field in model.model_fields.items()
        if _is_float(field) and unit_of(field) is None and plain_of(field) is None
    ]
    assert not bare, (
        f"numbers without a unit: {', '.join(bare)}; make each a quantity of labd.sdk, or say what it is: "
        '`Annotated[float, Plain("percent")]`'
    )


async def every_action_has_an_effect_and_a_time_limit(subject: Subject, directory: Path) -> None:
    """Each action says what repeating it does, and ends: its limit is finite, and above what it takes."""
    del directory
    for action, parameters in subject.acts():
        assert isinstance(action.effect, Effect), f"{action.name} has no effect"
        limit = action.time_limit(parameters)
        assert 0 < limit < math.inf, f"{action.name}: its time limit is {limit}"
        expected, least = action.expected(parameters), action.at_least(parameters)
        assert least <= limit, f"{action.name}: takes at least {least:g} s, and may take {limit:g} s"
        assert expected is None or expected <= limit, f"{action.name}: takes {expected} s, and may take {limit:g} s"


async def everything_is_documented(subject: Subject, directory: Path) -> None:
    """Module, driver, settings, actions, and what the driver adds to its role, in words."""
    del directory
    driver = subject.driver
    lacking: list[str] = []
    if not _said(subject.module_doc()):
        lacking.append("its module: which devices, which wire, from which manual")
    if not _said(driver.__doc__):
        lacking.append(f"class {driver.__name__}")
    lacking += [f"action {name}" for name, action in driver.actions.items() if not _said(action.summary)]
    lacking += _unnamed("settings", driver.Settings, _doc(driver.Settings))
    role = ROLES.get(driver.role)
    known = set(role.Signals.model_fields) if role is not None else set()
    lacking += [
        one for one in _unnamed("signals", driver.Signals, _doc(driver.Signals)) if one.split()[-1] not in known
    ]
    lacking += [f"quirk {quirk!r} is no sentence" for quirk in driver.quirks if not quirk.strip().endswith(".")]
    assert not lacking, "without a word of documentation: " + "; ".join(lacking)


async def its_role_is_known_and_kept(subject: Subject, directory: Path) -> None:
    """It has a role, and all actions of it with that role's parameters, results and signals."""
    del directory
    driver = subject.driver
    assert driver.role, "it has no role"
    assert not inspect.isabstract(driver), f"it lacks {', '.join(sorted(driver.__abstractmethods__))}"
    role = ROLES.get(driver.role)
    if role is None:  # a role of its own
        return
    assert issubclass(driver, role), f"its role is {driver.role}, and it is no subclass of {role.__name__}"
    assert issubclass(driver.Signals, role.Signals), f"its Signals are no subclass of {role.Signals.__name__}"
    wider = [
        f"{name}.{field}"
        for name, action in role.actions.items()
        for field in action.parameters.model_fields
        if field not in driver.actions[name].parameters.model_fields
    ]
    assert not wider, f"parameters of its role that it lacks: {', '.join(wider)}"


async def its_quality_is_as_it_says(subject: Subject, directory: Path) -> None:
    """A grade is what there is: a simulator, a recording that names its source and version, a day and a firmware."""
    del directory
    quality = subject.driver.quality
    if quality.at_least(Grade.SIMULATED):
        assert subject.simulator is not None, f"it says `{quality}`, and there is no simulator of its device"
    if quality.at_least(Grade.RECORDED):
        origins = [Transcript.read(path).origin for path in subject.recordings()]
        real = [one for one in origins if one.recorded and one.source and one.version]
        assert real, (
            f"it says `{quality}`, and no transcript is of a recording (`recorded: true`, with source and version)"
        )
        assert any(one.calls or one.link == "opcua" for one in real), (
            f"it says `{quality}`, and no recording is played: say in its first line what the driver was told "
            'meanwhile, `"calls": [["connect"], ["read_state"]]`'
        )


def _models(driver: type[Driver]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield "settings", driver.Settings
    yield "signals", driver.Signals
    for name, action in driver.actions.items():
        yield f"{name}: parameters", action.parameters
        yield f"{name}: result", action.result
        if action.data is not None:
            yield f"{name}: data", action.data


def _is_float(field: FieldInfo) -> bool:
    return _has_float(field.annotation)


def _has_float(annotation: object) -> bool:
    if annotation is float:
        return True
    return any(_has_float(part) for part in typing.get_args(annotation) if not isinstance(part, str))


def _said(text: str | None) -> bool:
    return len(_WORDS.findall(text or "")) >= 3


def _doc(model: type[BaseModel]) -> str:
    own = [one.__doc__ or "" for one in model.__mro__ if issubclass(one, BaseModel) and one is not BaseModel]
    return "\n".join(own)


def _unnamed(what: str, model: type[BaseModel], doc: str) -> list[str]:
    """The fields that are named neither in the docstring nor by a description of their own."""
    named = set(re.findall(r"\w+", doc))
    return [f"{what} {name}" for name, one in model.model_fields.items() if name not in named and not one.description]
