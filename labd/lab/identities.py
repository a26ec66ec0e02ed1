"""What each device was, in the journal: driver, model, serial number, firmware and calibrations, as it connected.

Whoever reads a run's record years later finds there with what it was made, not what the lab has by then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from labd.journal import Journal, NewEvent
from labd.lab.bus import DeviceAbout, Happening
from labd.lab.lab import Lab
from labd.version import VERSION


def keep_identities(lab: Lab, journal: Journal) -> Callable[[], None]:
    """Writes `device.identified` when a device connects, and again when it comes back as another.

    Gives what ends that.
    """
    told: dict[str, dict[str, Any]] = {}

    def hear(happening: Happening) -> None:
        assert isinstance(happening, DeviceAbout)
        data = identity(lab, happening)
        if told.get(happening.device) != data:
            told[happening.device] = data
            journal.post(NewEvent("device.identified", data))

    return lab.bus.subscribe(hear, DeviceAbout)


def identity(lab: Lab, about: DeviceAbout) -> dict[str, Any]:
    """A device as the journal has it; `simulated`: labd itself started what answers for it."""
    calibrations = {
        name: {
            "value": one.value,
            "calibrated": one.calibrated.isoformat() if one.calibrated is not None else None,
            "by": one.by,
            "ends": one.ends.isoformat() if one.ends is not None else None,
        }
        for name, one in sorted(lab.calibrations[about.device].items())
    }
    names = ("device", "driver", "role", "model", "serial", "firmware", "quality")
    return {
        **{name: getattr(about, name) for name in names},
        "driver_version": driver_version(type(lab.devices[about.device].driver)),
        "simulated": lab.config.devices[about.device].simulator is not None,
        "calibrations": calibrations,
    }


@cache
def driver_version(driver: type) -> str:
    """The version of the package that a driver comes from; labd's own for those that it ships."""
    package = driver.__module__.partition(".")[0]
    if package == "drivers":
        return VERSION
    try:
        return version(next(iter(packages_distributions().get(package, [package]))))
    except PackageNotFoundError:  # a file beside lab.yaml, or a test's own
        return ""
