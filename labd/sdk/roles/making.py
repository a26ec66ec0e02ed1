"""The roles that make cells: pipetting robot, crimper, arm."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from labd.sdk.actions import Call, Effect, Result, action
from labd.sdk.driver import Driver, Signals
from labd.sdk.evidence import Seen
from labd.sdk.quantities import Bounds, Duration, FlowRate, Force, Length, Place, Source, Volume

NewTip = Literal["always", "once", "never"]
PositiveVolume = Annotated[Volume, Bounds(min=0.1)]


# ── pipetting robot ───────────────────────────────────────────────────────────────────────────────────────────────────
class PipettingSignals(Signals):
    door_closed: bool | None = None
    tip_attached: bool | None = None
    busy: bool | None = None


class TransferResult(Result):
    volume: Volume
    source: str
    destination: str
    tip: str


def _tip_fits(seen: Seen) -> str | None:
    """The tip is off after `always`, and on after `once` and `never`. A tip of another mount hides the first."""
    keeps = seen.parameters.new_tip != "always"
    if keeps and seen.after.tip_attached is False:
        return f"no tip is on a pipette after a transfer with new_tip {seen.parameters.new_tip}"
    if not keeps and seen.before.tip_attached is False and seen.after.tip_attached is True:
        return "a tip is still on a pipette after a transfer with new_tip always"
    return None


class PipettingRobot(Driver):
    """Moves liquids between wells."""

    role = "pipetting_robot"
    Signals = PipettingSignals

    @action(effect=Effect.STATE, timeout=120, duration=20)
    @abstractmethod
    async def home(self, call: Call) -> None:
        """Drives all axes to their end switches."""

    @action(effect=Effect.ONCE, timeout=300, duration=40, evidence=_tip_fits)
    @abstractmethod
    async def transfer(
        self,
        call: Call,
        source: Source,
        destination: Place,
        volume: PositiveVolume,
        new_tip: NewTip = "always",
        flow_rate: Annotated[FlowRate, Bounds(min=0.1)] | None = None,
        mix_after: Annotated[int, Bounds(min=0, max=50)] = 0,
    ) -> TransferResult:
        """Takes a volume from a place or of a material, and gives it to another place."""

    @action(effect=Effect.ONCE, timeout=300, duration=40)
    @abstractmethod
    async def mix(
        self, call: Call, place: Place, volume: PositiveVolume, times: Annotated[int, Bounds(min=1, max=50)]
    ) -> None:
        """Draws in and gives back a volume in one well, so many times."""


# ── crimper ───────────────────────────────────────────────────────────────────────────────────────────────────────────
class CrimperSignals(Signals):
    force: Force | None = None
    ram: Length | None = None
    guard_closed: bool | None = None
    estop: bool | None = None
    cycles: int | None = None


class CrimpResult(Result):
    peak_force: Force | None
    dwell: Duration
    displacement: Length | None
    cycles: int | None


PRESSED = 0.2
"""Of the force that was ordered: below it nothing was pressed, or the sensor is dead."""


def _pressed(seen: Seen) -> str | None:
    """The cycle counter went up by one, and a force was seen. One that falls short is a result, for the protocol.

    A press that has either (its signals told them before) and does not tell it after has shown nothing. A press that
    has neither (one behind a relay) proves nothing.
    """
    before, after, force = seen.before.cycles, seen.after.cycles, seen.result.peak_force
    if before is not None and after is None:
        return "its cycle counter, which it told before, cannot be read"
    if force is None and (seen.before.force is not None or seen.before.cycles is not None):
        return "its peak force cannot be read"
    if before is not None and after is not None and (after - before) % 2**32 != 1:
        return f"its cycle counter went from {before} to {after}"
    if force is not None and not force > PRESSED * seen.parameters.force:
        return f"its force never rose: its peak was {force:g} kN of {seen.parameters.force:g} kN"
    return None


class Crimper(Driver):
    """Presses a coin cell shut."""

    role = "crimper"
    Signals = CrimperSignals

    @action(name="open", effect=Effect.STATE, timeout=30, duration=3)
    @abstractmethod
    async def open_ram(self, call: Call) -> None:
        """Drives the ram up, so that an arm can reach the nest."""

    @action(name="close", effect=Effect.STATE, timeout=30, duration=3)
    @abstractmethod
    async def close_ram(self, call: Call) -> None:
        """Drives the ram down onto the nest, without force."""

    @action(
        effect=Effect.ONCE,
        timeout=lambda p: 60 + p.dwell,
        duration=lambda p: 10 + p.dwell,
        least=lambda p: p.dwell,
        evidence=_pressed,
    )
    @abstractmethod
    async def crimp(
        self,
        call: Call,
        force: Annotated[Force, Bounds(min=0.1)],
        dwell: Annotated[Duration, Bounds(min=0, max=600)] = 2.0,
    ) -> CrimpResult:
        """Presses to a force, keeps it for a time, and opens again."""


# ── arm ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
class ArmSignals(Signals):
    gripped: bool | None = None
    moving: bool | None = None
    error: bool | None = None


class PickResult(Result):
    MEANS: ClassVar[Mapping[str, Any]] = {"gripped": True}

    gripped: bool
    width: Length | None


class PlaceResult(Result):
    MEANS: ClassVar[Mapping[str, Any]] = {"released": True}

    released: bool


class MoveResult(Result):
    position: str


def _gripped_as_told(seen: Seen) -> str | None:
    """The gripper still says what the result of the pick says."""
    gripped = seen.after.gripped
    if gripped is None or gripped is seen.result.gripped:
        return None
    return f"its gripper {'holds a part' if gripped else 'holds nothing'}, against what the pick gave"


def _released_as_told(seen: Seen) -> str | None:
    """A part that was released is not in the gripper."""
    if seen.result.released and seen.after.gripped:
        return "its gripper still holds a part"
    return None


class Arm(Driver):
    """Carries parts and cells between places."""

    role = "arm"
    Signals = ArmSignals

    @action(effect=Effect.STATE, timeout=120, duration=10)
    @abstractmethod
    async def home(self, call: Call) -> None:
        """Finds its axes' zero, and moves clear of everything."""

    @action(effect=Effect.ONCE, timeout=120, duration=15, evidence=_gripped_as_told)
    @abstractmethod
    async def pick(
        self, call: Call, place: Place, force: Annotated[Force, Bounds(min=0.001, max=0.2)] = 0.02
    ) -> PickResult:
        """Takes what lies at a place. A missed grip is a result, `gripped: false`, not an error."""

    @action(effect=Effect.ONCE, timeout=120, duration=15, evidence=_released_as_told)
    @abstractmethod
    async def place(self, call: Call, place: Place) -> PlaceResult:
        """Sets down at a place what the gripper holds."""

    @action(effect=Effect.STATE, timeout=60, duration=5)
    @abstractmethod
    async def move(self, call: Call, position: Place) -> MoveResult:
        """Moves to a taught position."""
