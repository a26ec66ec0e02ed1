"""The interlocks of a lab, checked: those of lab.yaml, and the E-stops that its devices tell of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from labd.expr import BOOLEAN, Type, compile_expression, did_you_mean, field_type
from labd.files import Path
from labd.lab.conditions import Condition, compile_condition, spelled, types_of
from labd.lab.findings import Findings
from labd.lab.models import DeviceConfig, Interlock, SafeBy
from labd.sdk import Action, Driver, Effect, Parameters

Then = Literal["hold", "stop", "abort"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One interlock.

    Args:
        name: what messages call it.
        condition: on which it trips.
        patience: how long that must hold without a break, s.
        then: what is done to the runs.
        devices: only runs that use these, and only these are locked; None: all.
        latch: whether it stays tripped until a person clears it.
        builtin: whether it is labd's own, for an E-stop that a device tells.
    """

    name: str
    condition: Condition
    patience: float
    then: Then
    devices: tuple[str, ...] | None
    latch: bool
    builtin: bool = False


def rules_of(
    interlocks: Mapping[int, Interlock],
    drivers: Mapping[str, Driver],
    classes: Mapping[str, type[Driver]],
    names: Collection[str],
    findings: Findings,
) -> tuple[Rule, ...]:
    """All interlocks of a lab, labd's own first; what does not hold is told.

    Args:
        interlocks: of lab.yaml, by their number there.
        drivers: by device, those that could be made.
        classes: by device, those that are there.
        names: of all devices.
        findings: who is told.
    """
    types = types_of(names, drivers, classes)
    rules = list(_estops(drivers, types))
    own = {rule.name for rule in rules}
    for number, one in interlocks.items():
        at: Path = ("interlocks", number)
        if one.name in own:
            message = f"`{one.name}` is the name of labd's own interlock for this E-stop"
            findings.tell("L302", message, (*at, "name"), "name it otherwise")
        condition = compile_condition(one.if_, types, names, (*at, "if"), findings)
        if condition is not None:
            devices = tuple(one.devices) if one.devices is not None else None
            rules.append(Rule(one.name, condition, one.for_, one.then, devices, one.latches))
    return tuple(rules)


def _estops(drivers: Mapping[str, Driver], types: Mapping[str, Type]) -> list[Rule]:
    """A latching hold for each device that tells its E-stop: its runs are held, and nothing begins on it."""
    rules: list[Rule] = []
    for name, driver in drivers.items():
        told = type(driver).Signals.model_fields.get("estop")
        if told is None or field_type(told) != BOOLEAN:
            continue
        units = [f"{spelled(name)}.{spelled(unit, 'unit')}" if unit else spelled(name) for unit in driver.units]
        text = " or ".join(f"{unit}.estop" for unit in units)
        condition = Condition(text, compile_expression(text, types, BOOLEAN), (name,))
        rules.append(Rule(f"{name}-estop", condition, 0.0, "hold", (name,), latch=True, builtin=True))
    return rules


# ── what else makes a device safe ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class SafeAction:
    """An action of another device that makes one safe."""

    device: str
    action: Action
    parameters: Parameters

    def __str__(self) -> str:
        return f"{self.device}.{self.action.name}"


def safe_actions(
    configs: Mapping[str, DeviceConfig], classes: Mapping[str, type[Driver]], findings: Findings
) -> dict[str, SafeAction]:
    """`safe_by` of the devices that have one; what does not hold is told."""
    found: dict[str, SafeAction] = {}
    for name, config in configs.items():
        if config.safe_by is None:
            continue
        action = _safe_action(name, config.safe_by, configs, classes, findings)
        if action is not None:
            found[name] = action
    return found


def _safe_action(
    name: str,
    by: SafeBy,
    configs: Mapping[str, Any],
    classes: Mapping[str, type[Driver]],
    findings: Findings,
) -> SafeAction | None:
    at: Path = ("devices", name, "safe_by")
    if by.device == name or by.device not in configs:
        message = f"{name} itself is what is lost" if by.device == name else f"there is no device `{by.device}`"
        others = [other for other in configs if other != name]
        findings.tell("L204", message, (*at, "device"), did_you_mean(by.device, others, "there is"))
        return None
    if by.device not in classes:
        return None  # its driver is told
    actions = classes[by.device].actions
    action = actions.get(by.action)
    states = [key for key, one in actions.items() if one.effect is Effect.STATE]
    if action is None or action.effect is not Effect.STATE:
        why = f"has no action `{by.action}`" if action is None else f"`{by.action}` reaches no state: it is no safe one"
        mend = did_you_mean(by.action, states, "it has")
        findings.tell("L211", f"{by.device} {why}" if action is None else why, (*at, "action"), mend)
        return None
    try:
        return SafeAction(by.device, action, action.parameters.model_validate(by.with_))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        findings.tell("L211", f"{by.device}.{by.action}: {told}", (*at, "with") if by.with_ else at)
        return None
