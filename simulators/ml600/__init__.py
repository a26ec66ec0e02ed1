"""A Hamilton Microlab 600 with one or two syringes on its serial line, by Protocol 1/RNO+.

Source: Microlab 600 RS-232 Communication Manual (Hamilton), chapters 2 and 3: tables 3.1.2 to 3.1.8, 3.2.2, 3.3.1 to
3.3.4.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from labd import clock
from simulators._kit.line import SharedLine
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.syringe import Barrel
from simulators._kit.trial import Trial
from simulators._kit.world import microlitres
from simulators.faults.knobs import switch
from simulators.ml600.side import FARTHEST, MISSING, NEW, STEPS, VALVES, Side

FIRMWARE = "NV01.02.A"
LEAST, MOST = 2, 3692  # s of a full stroke
USUAL = 10
STOCK = 50_000.0  # µL in the bottle at an inlet
ACK, NAK = b"\x06", b"\x15"
_ALWAYS = 0x40  # of a character that is bits
_STATUS = re.compile(r"([BC]?)(F|Z|G|H|U|E1|E2|T1|YQP|YQS|LQP|LQA|LQT)R?")
_WORD = re.compile(
    r"(?P<side>[BC])|(?P<order>X|I|O|(?P<move>[PDM])(?P<steps>\d+))(?:S(?P<stroke>\d+))?(?:N(?P<back>\d+))?|(?P<run>[RK$V])"
)

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
    each inlet where nothing else does), `initialised` (true; false: it was just switched on), `valve` (its type, 17 to
    19; default 18), `syringe_error` (relative), `seed`, `faults`.

    Faults, besides those of the line (`silent`, `drop`, `delay`, `truncate`, `garble`):
        reply_lost (int, counts down): so many orders are carried out, and their answers are lost.
        unheard (int, counts down): so many moves are lost on their way.
        busy_stuck (bool): it says busy for ever.
        overload (int, counts down): so many moves end half way with an error, which is told once.
        nak (int, counts down): so many moves are refused.
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
        self._type = int(bench.options.get("valve", 18))
        names = ("left", "right") if bench.settings.get("right") else ("",)
        self.sides = {name: self._made(name, number) for number, name in enumerate(names)}
        self._line: SharedLine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0

    def _made(self, name: str, number: int) -> Side:
        options, places = self.bench.options, self.bench.options.get("places") or {}
        memory = self.world.memory(self.name).setdefault(name or "only", {"position": 0})
        volume = microlitres(self.bench.settings.get("right" if name == "right" else "syringe", 1000))
        inlet, outlet = (f"{name}-inlet", name) if name else ("inlet", "outlet")
        return Side(
            Barrel(self.world, memory, float(options.get("syringe_error", 0.0))),
            volume / STEPS,
            memory,
            VALVES[self._type][number],
            str(places.get(inlet) or f"{self.name}/{inlet}"),
            str(places.get(outlet) or f"{self.name}/{outlet}"),
            not options.get("initialised", True),
            lambda: self._counted("overload"),
        )

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Puts it on its line; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        for side in self.sides.values():
            if self.world.well(side.inlet) is None and side.inlet.startswith(f"{self.name}/"):
                self.world.fill(side.inlet, {str(self.bench.options.get("liquid", "LP57")): STOCK})
        self._line = await SharedLine.join(self.bench, self._hear, b"\r")
        return {"address": self._line.found}

    async def stop(self) -> None:
        """Takes it off its line: the plungers stop where they are."""
        for side in self.sides.values():
            side.halt(self._now())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line is not None:
            await self._line.leave(self._hear)
            self._line = None
        self.world.save()

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the pump, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _advance(self) -> None:
        """Lets all sides come to the present; comes again when something ends."""
        for side in self.sides.values():
            side.advance(self._now())
        self.world.save()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [side.until for side in self.sides.values() if side.busy]
        if ends:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(ends) - self._now()), self._advance)

    def _counted(self, fault: str) -> bool:
        left = int(self.faults.get(fault) or 0)
        if left:
            self.faults[fault] = left - 1
        return left > 0

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _hear(self, message: bytes) -> None:
        self._advance()
        if self.faults.pop("power_cycle", None):
            self._called = False
            for side in self.sides.values():
                side.switch_off(self._now())
        text = message.decode("ascii", "replace").strip()
        if text.endswith("1a"):
            self._say(b"1a" if self._called else b"1b")  # who has an address keeps it, and passes the line on
            self._called = True
        elif self._called and text.startswith("a"):
            self._answer(text[1:])
            self._advance()

    def _answer(self, text: str) -> None:
        status = _STATUS.fullmatch(text)
        if status is not None:
            side = self._side(status[1])
            self._say(NAK if side is None else ACK + self._told(side)[status[2]]().encode())
            return
        moves = re.search(r"[MPD]\d", text) is not None
        if moves and self._counted("unheard"):
            return
        good = not (moves and self._counted("nak")) and self._take(text)
        if not (good and self._counted("reply_lost")):
            self._say(ACK if good else NAK)

    def _say(self, data: bytes) -> None:
        if self._line is not None:
            self._line.send(data + b"\r", self.faults)

    def _side(self, prefix: str) -> Side | None:
        """The one that a prefix names; the left one without; None where there is none such."""
        if prefix == "C":
            return self.sides.get("right")
        return self.sides.get("left") or self.sides[""]

    # ── what it tells ────────────────────────────────────────────────────────────────────────────────────────────
    def _told(self, side: Side) -> dict[str, Callable[[], str]]:
        sides = list(self.sides.values())
        busy = bool(self.faults.get("busy_stuck")) or any(one.busy for one in sides)
        waits, wrong = any(one.waits for one in sides), any(one.errors for one in sides)
        turns, moves = any(one.turns for one in sides), any(one.busy and not one.turns for one in sides)
        return {
            "F": lambda: "*" if busy else "N" if waits else "Y",
            "Z": lambda: "*" if busy else "NY"[wrong],
            "G": lambda: "*" if busy else "N",
            "H": lambda: "*" if busy else "NY"[len(sides) == 1],
            "U": lambda: FIRMWARE,
            "E1": lambda: _bits(waits and not busy, moves, turns, False, wrong or any(one.new for one in sides)),
            "E2": self._errors,
            "T1": lambda: _bits(*(on for one in sides for on in (one.turns, one.busy and not one.turns))),
            "YQP": lambda: str(side.at(self._now())),
            "YQS": lambda: str(USUAL),
            "LQP": lambda: side.port,
            "LQA": lambda: str(side.angle),
            "LQT": lambda: str(self._type),
        }

    def _errors(self) -> str:
        """Two characters a side, syringe and valve; what went wrong is told once."""
        told = ""
        for side in self.sides.values():
            told += chr(_ALWAYS | side.errors | NEW * side.new) + chr(_ALWAYS | NEW * side.new)
            side.errors = 0
        return told if len(self.sides) == 2 else told + 2 * chr(_ALWAYS | MISSING)

    # ── what it takes ────────────────────────────────────────────────────────────────────────────────────────────
    def _take(self, text: str) -> bool:
        """Takes a string of orders, all or none of them; whether it does."""
        words = list(_WORD.finditer(text))
        if not words or "".join(word[0] for word in words) != text or not all(map(self._possible, words)):
            return False
        meant: list[Side] = []
        for word in words:
            if word["side"]:
                meant = [side for side in [self._side(word["side"])] if side is not None]
            elif word["run"]:
                self._execute(word["run"], meant)
            else:
                left = [side for side in [self._side("")] if side is not None]
                for side in meant or (list(self.sides.values()) if word["order"] == "X" else left):
                    side.take(word["order"][0], int(word["steps"] or 0), float(word["stroke"] or USUAL))
        return True

    def _possible(self, word: re.Match[str]) -> bool:
        return (
            (word["side"] != "C" or "right" in self.sides)
            and (not word["steps"] or 1 <= int(word["steps"]) <= FARTHEST)
            and (not word["stroke"] or LEAST <= int(word["stroke"]) <= MOST)
        )

    def _execute(self, word: str, meant: list[Side]) -> None:
        """R and $ are for the whole instrument, K and V for the sides that are named."""
        for side in self.sides.values() if word in "R$" or not meant else meant:
            if word == "K":
                side.halt(self._now())
            elif word == "V":
                side.clear()
            else:
                side.run(self._now(), new=word == "R")


def _bits(*on: bool) -> str:
    return chr(_ALWAYS | sum(bit << place for place, bit in enumerate(on)))


SIMULATOR = Ml600Simulator
