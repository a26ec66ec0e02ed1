"""How actions move samples: `pick` and `place` do, and nothing else."""

from __future__ import annotations

from labd.lab.lab import Lab
from labd.run.reservations import Bound
from labd.sdk import Parameters, Result


def moves(
    lab: Lab, sample: str, bound: Bound, action: str, parameters: Parameters, result: Result | None
) -> str | None:
    """Where the sample is after an action, or None when the action did not move it.

    An arm that picks at the sample's place has it in its gripper; what it then puts down is the sample. A lid that is
    picked elsewhere is not.
    """
    if bound.device.driver.role != "arm" or action not in ("pick", "place"):
        return None
    gripper = lab.place_of(bound.device, bound.unit)
    here = lab.places.place_of(sample)
    place = str(getattr(parameters, "place", ""))
    if action == "pick":
        gripped = getattr(result, "gripped", True)
        return gripper if here == place and gripped else None
    released = getattr(result, "released", True)
    return place if here == gripper and released else None
