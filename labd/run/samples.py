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


def takes_part(lab: Lab, sample: str, bound: Bound, action: str, result: Result | None) -> bool | None:
    """Whether the arm holds a part for the sample after an action; None when the action changed nothing of that.

    To be asked before the sample's own move is applied.
    """
    gripper = lab.place_of(bound.device, bound.unit)
    if bound.device.driver.role != "arm" or gripper is None or lab.places.place_of(sample) == gripper:
        return None
    if action == "pick":
        return True if getattr(result, "gripped", True) else None
    held = action == "place" and lab.places.part_for(gripper) == sample
    return False if held and getattr(result, "released", True) else None
