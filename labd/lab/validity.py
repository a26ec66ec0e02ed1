"""Taught positions and calibrations that are no longer good, asked about before an action that relies on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from labd.lab.device import Device
from labd.lab.inventory import Shortage
from labd.lab.lab import Lab
from labd.sdk import Parameters

VALIDITY = "validity"
"""The `thing` of such a question."""


def expired(lab: Lab, device: Device, parameters: Parameters, today: dt.date, but: Collection[str]) -> Shortage | None:
    """What an action relies on that is good no more, and how to renew it; None: nothing.

    Args:
        lab: whose device it is.
        device: that acts.
        parameters: of the action: the positions that it names are looked at, of calibrations all.
        today: by the lab's clock.
        but: what a person has agreed to, `arm press/nest`.
    """
    for field in ("place", "position"):
        name = str(getattr(parameters, field, ""))
        position = device.driver.setup.positions.get(name)
        key = f"{device.id} {name}"
        if position is not None and position.ends and dt.date.fromisoformat(position.ends) < today and key not in but:
            who = f", taught by {position.by}" if position.by else ""
            text = f"{device.id}'s position {name} was good until {position.ends}{who}. Look at it; teach it anew with "
            return Shortage(VALIDITY, key, f"{text}`labd device {device.id} teach {name}`, or go on with it as it is?")
    for name, one in lab.calibrations.get(device.id, {}).items():
        key = f"{device.id} {name}"
        if one.ends is not None and one.ends < today and key not in but:
            text = f"the calibration {name} of {device.id} was good until {one.ends}. Calibrate it anew with "
            return Shortage(VALIDITY, key, f"{text}`labd device {device.id} calibrate {name}=…`, or go on without?")
    return None
