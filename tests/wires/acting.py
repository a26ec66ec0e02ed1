"""Actions as the runtime gives them to a driver: an intent with its baseline, and then the order."""

from __future__ import annotations

from typing import Any

from labd import clock
from labd.sdk import Call, Driver, Intent


async def intended(driver: Driver, name: str, unit: str = "", **values: Any) -> Intent:
    """Its id is `a1`, with the unit after it."""
    parameters = driver.actions[name].parameters.model_validate(values)
    return Intent(f"a1{unit}", name, unit, parameters, await driver.baseline(name, unit), clock.now())


async def carried_out(driver: Driver, intent: Intent) -> Any:
    call = Call(intent.id, intent.unit, intent.baseline)
    return await driver.invoke(driver.actions[intent.action], intent.parameters, call)


async def act(driver: Driver, name: str, unit: str = "", **values: Any) -> Any:
    return await carried_out(driver, await intended(driver, name, unit, **values))
