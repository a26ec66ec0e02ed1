"""A Hamilton Microlab 600 with one or two syringes on its serial line.

Source: Microlab 600 Series manual (Hamilton 61569-01), chapter communication.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from labd import clock
from simulators._kit.line import SharedLine
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.syringe import Barrel
from simulators._kit.trial import Trial
from simulators._kit.world import microlitres
from simulators.faults.knobs import switch

FIRMWARE = "NV01.02.a"
STEPS = 48_000
LEAST, MOST = 2, 3692  # s of a full stroke
USUAL = 10
VALVE = 0.4  # s for a turn
HOME = 10.0  # s of a full stroke when it looks for its zero
STOCK = 50_000.0  # µL in the bottle at an inlet
ACK, NAK = b"\x06", b"\x15"
_TINY = 1e-6
_ORDER = re.compile(r"(?P<side>[BC]?)(?P<valve>[IO]?)(?P<move>[MPD]?)(?P<steps>\d*)(?:S(?P<seconds>\d+))?")


@dataclass
class _Side:
    """One syringe with its valve: where it is, and where it goes."""

    name: str
    barrel: Barrel
    step_volume: float
    memory: dict[str, Any]
    valve: str = "O"
    goes: list[tuple[str, int, float]] = field(default_factory=list)  # valve or move, target, seconds
    began: float = 0.0

    @property
    def position(self) -> int:
        """Steps from its upper end."""
        return int(self.memory["position"])

    def at(self, now: float) -> int:
        """Where the plunger is just now."""
        if not self.goes or self.goes[0][0] != "M":
            return self.position
        _, target, seconds = self.goes[0]
        share = min(1.0, (now - self.began) / seconds) if seconds > 0 else 1.0
        return round(self.position + (target - self.position) * share)


_TRIAL = Trial(
    name="pump",
    settings={"address": "ports/pump", "syringe": "1 mL", "right": "250 µL"},
    acts=(
        ("aspirate", {"volume": "100 µL"}),
        ("dispense", {"volume": "50 µL"}),
        ("prime", {"volume": "50 µL"}),
        ("initialise", {}),
    ),
    effect=lambda simulator: {name: side.position for name, side in simulator.sides.items()},
)


class Ml600Simulator(Simulator):
    """The pump `<name>`, which somebody has switched on and initialised.

    What a syringe draws in comes from a place in the world, and what it gives goes there: `<name>/inlet` and
    `<name>/outlet`, with two syringes `<name>/left-inlet` and `<name>/left`, `<name>/right-inlet` and `<name>/right`.

    Settings: `address`, `syringe`, `right` (see the driver's).
    Options: `places` (by `inlet`, `outlet`, `left-inlet`, `left` …), `liquid` (LP57; a bottle of 50 mL of it stands at
    each inlet where nothing else does), `initialised` (true; false: it was just switched on), `syringe_error`
    (relative), `seed`, `faults`.

    Faults, besides those of the line (`silent`, `drop`, `delay`, `truncate`, `garble`):
        reply_lost (int, counts down): so many orders are carried out, and their answers are lost.
        unheard (int, counts down): so many orders are lost on their way.
        busy_stuck (bool): it says busy for ever.
        overload (int, counts down): so many moves end half way with an error, and the positions are lost.
        nak (int, counts down): so many orders are refused.
        power_cycle (bool, once): at the next command it finds itself just switched on, without its address.
    """

    trial = _TRIAL

    FAULTS = {
        "busy_stuck": switch("busy_stuck"),
        "reply_lost": switch("reply_lost", counts=True),
        "ignored": switch("unheard", counts=True),
        "jam": switch("overload", counts=True),
        "refused": switch("nak", counts=True),
    }

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._called = False
        self.error = not bench.options.get("initialised", True)
        memory = self.world.memory(self.name)
        names = ("left", "right") if bench.settings.get("right") else ("",)
        self.sides: dict[str, _Side] = {}
        for name in names:
            own = memory.setdefault(name or "only", {"position": 0})
            volume = microlitres(bench.settings.get("right" if name == "right" else "syringe", 1000))
            barrel = Barrel(self.world, own, float(bench.options.get("syringe_error", 0.0)))
            self.sides[name] = _Side(name, barrel, volume / STEPS, own)
        self._line: SharedLine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Puts it on its line; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        for side in self.sides.values():
            inlet = self.place(side, "I")
            if self.world.well(inlet) is None and inlet.startswith(f"{self.name}/"):
                self.world.fill(inlet, {str(self.bench.options.get("liquid", "LP57")): STOCK})
        self._line = await SharedLine.join(self.bench, self._hear, b"\r")
        return {"address": self._line.found}

    async def stop(self) -> None:
        """Takes it off its line: the plungers stop where they are."""
        self._halt(list(self.sides.values()))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line is not None:
            await self._line.leave(self._hear)
            self._line = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the pump, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    def place(self, side: _Side, valve: str) -> str:
        """The place in the world behind a syringe's inlet (I) or outlet (O)."""
        inlet, outlet = (f"{side.name}-inlet", side.name) if side.name else ("inlet", "outlet")
        name = inlet if valve == "I" else outlet
        return str((self.bench.options.get("places") or {}).get(name) or f"{self.name}/{name}")

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _hear(self, message: bytes) -> None:
        self._advance()
        if self.faults.pop("power_cycle", None):
            self._halt(list(self.sides.values()))
            self._called, self.error = False, True
        text = message.decode("ascii", "replace").strip()
        if text.endswith("1a"):
            self._called = True
            self._say(b"1b")
        elif self._called and text.startswith("a"):
            if "M" in text and self._counted("unheard"):
                return
            said, order = self._command(text[1:])
            if not (order and said[:1] == ACK and self._counted("reply_lost")):
                self._say(said)

    def _say(self, data: bytes) -> None:
        if self._line is not None:
            self._line.send(data + b"\r", self.faults)

    def _command(self, text: str) -> tuple[bytes, bool]:
        """What it says, and whether it was an order."""
        body = text.removesuffix("R")
        if body == "U":
            return ACK + FIRMWARE.encode(), False
        if body == "F":
            busy = any(side.goes for side in self.sides.values()) or self.faults.get("busy_stuck")
            return ACK + (b"*" if self.error and not busy else b"N" if busy else b"Y"), False
        sides = self._meant(body[:1])
        rest = body[1:] if body[:1] in ("B", "C") and len(body) > 1 else body
        if sides and rest in ("YQP", "LQP"):
            side = sides[0]
            found = side.at(self._now()) if rest == "YQP" else {"I": 1, "O": 2}[side.valve]
            return ACK + str(found).encode(), False
        if not sides or not text.endswith("R"):
            return NAK, False
        return (ACK if self._order(rest, sides) else NAK), True

    def _meant(self, prefix: str) -> list[_Side]:
        """The syringes that a command is for; none where there is no such one."""
        if prefix in ("B", "C"):
            name = {"B": "left", "C": "right"}[prefix]
            return [self.sides[name]] if name in self.sides else [self.sides[""]] if prefix == "B" else []
        return list(self.sides.values())

    def _order(self, text: str, sides: list[_Side]) -> bool:
        """Whether it takes an order."""
        if text in ("K", "V"):
            self._halt(sides)
            return True
        if any(side.goes for side in sides) or self._counted("nak"):
            return False
        if text == "X":
            self.error = False
            for side in self.sides.values():
                self._send(side, [("valve", 1, VALVE), ("M", 0, HOME * side.position / STEPS + 0.5)])
            return True
        match = _ORDER.fullmatch(text)
        if match is None or self.error or len(sides) != 1 or bool(match["steps"]) != bool(match["move"]):
            return False
        return self._go(sides[0], match)

    def _go(self, side: _Side, match: re.Match[str]) -> bool:
        seconds = int(match["seconds"] or USUAL)
        steps = int(match["steps"] or 0)
        target = {"M": steps, "P": side.position + steps, "D": side.position - steps, "": side.position}[match["move"]]
        if not 0 <= target <= STEPS or not LEAST <= seconds <= MOST:
            return False
        goes: list[tuple[str, int, float]] = []
        if match["valve"]:
            goes.append(("valve", int(match["valve"] == "O"), 0.0 if match["valve"] == side.valve else VALVE))
        if match["move"]:
            goes.append(("M", target, seconds * abs(target - side.position) / STEPS))
        self._send(side, goes)
        return True

    # ── motion ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _send(self, side: _Side, goes: list[tuple[str, int, float]]) -> None:
        side.goes, side.began = goes, self._now()
        self._arm()

    def _arm(self) -> None:
        ends = [side.began + side.goes[0][2] for side in self.sides.values() if side.goes]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ends:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(ends) - self._now()), self._advance)

    def _advance(self) -> None:
        """Ends what is over, and begins what comes after it."""
        for side in self.sides.values():
            while side.goes and self._now() >= side.began + side.goes[0][2] - _TINY:
                kind, target, seconds = side.goes.pop(0)
                side.began += seconds
                if kind == "valve":
                    side.valve = "O" if target else "I"
                elif self._counted("overload"):
                    self._move_to(side, (side.position + target) // 2)
                    self.error = True
                    side.goes.clear()
                else:
                    self._move_to(side, target)
        self._arm()

    def _halt(self, sides: list[_Side]) -> None:
        """The plungers stop where they are; a valve ends its turn."""
        for side in sides:
            if side.goes and side.goes[0][0] == "M":
                self._move_to(side, side.at(self._now()))
                side.goes.clear()
            del side.goes[1:]

    def _move_to(self, side: _Side, target: int) -> None:
        """The plunger stands there now: what it has displaced went through the valve."""
        moved = target - side.position
        if moved > 0:
            side.barrel.draw(self.place(side, side.valve), moved * side.step_volume)
        elif moved < 0:
            side.barrel.give(self.place(side, side.valve), -moved * side.step_volume, clock.now().timestamp())
        side.memory["position"] = target
        self.world.save()

    def _counted(self, fault: str) -> bool:
        left = int(self.faults.get(fault) or 0)
        if left:
            self.faults[fault] = left - 1
        return left > 0


SIMULATOR = Ml600Simulator
