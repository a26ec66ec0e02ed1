"""Which simulator belongs to a driver: by the driver's name, here or in another package."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from simulators._kit.simulator import Simulator

GROUP = "labd.simulators"


def find_simulator(kind: str) -> type[Simulator] | None:
    """`SIMULATOR` of `simulators.<kind>`, or the entry point of that name in `labd.simulators`; None: there is none.

    Raises:
        TypeError: what is found is no simulator.
    """
    try:
        found = importlib.import_module(f"simulators.{kind}").SIMULATOR
    except ModuleNotFoundError as error:
        if error.name != f"simulators.{kind}":
            raise
        point = next((point for point in entry_points(group=GROUP) if point.name == kind), None)
        if point is None:
            return None
        found = point.load()
    return checked(found, kind)


def checked(found: object, where: str) -> type[Simulator]:
    """What was found as a simulator. Raises TypeError when it is none."""
    if not (isinstance(found, type) and issubclass(found, Simulator)):
        raise TypeError(f"{where}: its SIMULATOR is no subclass of simulators._kit.simulator.Simulator")
    return found
