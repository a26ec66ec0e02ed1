"""One look at a press: what its PLC says, and what that means in words."""

from __future__ import annotations

from dataclasses import dataclass

from labd.sdk.roles import CrimpResult

CLOCK_SLACK = (10.0, 0.02)  # s and share by which PLC uptime and our clock may differ
_UINT32 = 2**32


@dataclass(frozen=True, slots=True)
class State:
    """One look at the PLC. Floats that are no numbers are None."""

    bits: dict[str, bool]
    force: float | None
    ram: float | None
    peak_force: float | None
    displacement: float | None
    cycles: int
    uptime: int | None
    alarm_code: int

    def __getitem__(self, name: str) -> bool:
        return self.bits[name]

    def cycles_since(self, counter: int) -> int:
        return (self.cycles - counter) % _UINT32


def slack(elapsed: float) -> float:
    """Seconds by which the PLC's uptime may differ from our clock after so many."""
    return CLOCK_SLACK[0] + CLOCK_SLACK[1] * abs(elapsed)


def cause_of(state: State) -> str | None:
    """What keeps the press from moving now, in words."""
    if state["estop"]:
        return "the E-stop is pressed"
    if not state["guard_closed"]:
        return "the guard is open"
    if not state["light_curtain_clear"]:
        return "the light curtain is broken"
    return None


def result_of(state: State, dwell: float) -> CrimpResult:
    return CrimpResult(peak_force=state.peak_force, dwell=dwell, displacement=state.displacement, cycles=state.cycles)
