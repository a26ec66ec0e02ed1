"""From a step's command to an order: parameters resolved, bound to the action's model, and checked before sending."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from labd.lab.config import LabError
from labd.lab.lab import Lab
from labd.protocol.messages import Do
from labd.run.identity import OrderRefusedError, own_capacity
from labd.run.outcomes import Order
from labd.run.reservations import Bound
from labd.sdk import Action, Quantity, UnitError
from labd.sdk.quantities import PlaceMark, bounds_of, marks, unit_of


def make_order(lab: Lab, run: str, sample: str, state: str, bound: Bound, command: Do) -> Order:
    """Checks a command against its device.

    Raises:
        OrderRefusedError: an unknown action, parameters that do not fit, a limit of lab.yaml, or an occupied place.
    """
    where = f"{bound.device.id}.{command.action}"
    action = bound.device.driver.actions.get(command.action)
    if action is None:
        known = ", ".join(bound.device.driver.actions)
        raise OrderRefusedError(f"{where}: {bound.device.kind} has no such action; it has {known}")
    values = dict(command.parameters)
    for name, field in action.parameters.model_fields.items():
        if name in values and any(isinstance(mark, PlaceMark) and mark.material for mark in marks(field)):
            try:
                values[name] = lab.locate(str(values[name]), _volume(values.get("volume")))
            except LabError as error:
                raise OrderRefusedError(f"{where}: {name}: {error}") from error
    values |= own_capacity(lab.samples, sample, action, values, where)
    try:
        parameters = action.parameters.model_validate(values)
    except ValidationError as error:
        told = "; ".join(_told(action, item) for item in error.errors())
        raise OrderRefusedError(f"{where}: {told}") from error
    problem = lab.check_limits(bound.device.id, action, parameters)
    if problem:
        raise OrderRefusedError(f"{where}: {problem}")
    if bound.device.driver.role == "arm" and action.name == "place":
        there = lab.places.sample_at(parameters.place)  # type: ignore[attr-defined]
        if there is not None and there != sample:
            raise OrderRefusedError(f"{where}: {there} is there; move it away first")
    return Order(run, sample, state, command.step_id, bound, action, parameters, command.within)


def _told(action: Action, item: ErrorDetails) -> str:
    """What is wrong with a parameter, in words and with its unit."""
    name = ".".join(map(str, item["loc"]))
    if item["type"] == "missing":
        return f"`{name}` is missing"
    field = action.parameters.model_fields.get(str(item["loc"][0])) if item["loc"] else None
    if item["type"] == "bounds" and field is not None:
        return f"{name}: {bounds_of(field).problem(item['ctx']['value'], unit_of(field) or '')}"
    text = item["msg"].removeprefix("Value error, ")
    return f"{name}: {text}" if name else text


def _volume(given: object) -> float:
    """The volume that is drawn, µL, by which the well is chosen; 0 where none can be told."""
    try:
        return given.to("µL") if isinstance(given, Quantity) else 0.0
    except UnitError:  # it is refused with its parameters
        return 0.0


__all__ = ["OrderRefusedError", "make_order"]
