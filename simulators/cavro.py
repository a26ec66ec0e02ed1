"""A Tecan Cavro syringe pump (XCalibur, XLP 6000), alone or with others on one line, by the DT protocol.

Source: the pumps' operating manuals (Tecan 20734508, 734237), chapters software communication and pump commands.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import Any

from labd import clock
from simulators._kit.line import SharedLine
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.syringe import Barrel, Travel
from simulators._kit.trial import Trial
from simulators._kit.world import microlitres
from simulators.faults.knobs import switch

FIRMWARE = {"xcalibur": "P/N 30021545-C", "xlp6000": "P/N 30038165-D"}
STEPS = {"xcalibur": 3000, "xlp6000": 6000}
FASTEST = {"xcalibur": 5800, "xlp6000": 6000}  # pulses/s
PULSES = 6000  # of a full stroke, whatever the model
SPEEDS = {"V": 1400, "v": 900, "c": 900, "K": 12, "L": 14}  # as after power-up
S_CODES = (5800, 5600, 5000, 4400, 3800, 3200, 2600, 2200, 2000, 1800, 1600, 1400, 1200, 1000, 800, 600, 400, 200)
SLOPE = 2500.0  # pulses/s² of one slope code
HOME_SPEED = 500.0  # pulses/s
VALVE = 0.25  # s for a turn
SETTLE = 0.5  # s; after it has found its zero
PLAY = 6  # steps that the plunger moves at a turn before the liquid does
STOCK, _TINY = 50_000.0, 1e-6  # µL in the bottle that `liquid` names; s
BUSY, READY = 0x40, 0x60
OK, INVALID, OPERAND, NOT_INITIALISED, OVERLOAD, VALVE_OVERLOAD, BYPASS, OVERFLOW = 0, 2, 3, 7, 9, 10, 11, 15
_BOUNDS = {
    "V": (5, 6000),
    "v": (50, 1000),
    "c": (50, 2700),
    "K": (0, 31),
    "L": (1, 20),
    "S": (0, 40),
    "M": (5, 30_000),
    "N": (0, 0),
}
_WORD = re.compile(r"([A-Za-z])((?:\d+(?:,\d+)*)?)")


@dataclass(frozen=True, slots=True)
class _Word:
    letter: str
    numbers: tuple[int, ...]

    @property
    def number(self) -> int:
        return self.numbers[0] if self.numbers else 0


_TRIAL = Trial(
    name="pump",
    settings={"address": "ports/pump", "syringe": "1 mL"},
    acts=(
        ("aspirate", {"volume": "300 µL"}),
        ("dispense", {"volume": "100 µL"}),
        ("prime", {"volume": "100 µL"}),
        ("initialise", {}),
    ),
    effect=lambda simulator: {"position": simulator.position},
)


class CavroSimulator(Simulator):
    """The pump `<name>`, which somebody has switched on and initialised.

    What it draws in comes from the places of its ports in the world, and what it gives goes there. Several pumps with
    one `address` are on one line.

    Settings: `address`, `pump`, `model`, `syringe`, `ports`, `inlet`, `outlet`, `waste`, `gives_to` (see the driver's).
    Options: `places` (by `inlet`, `outlet`, `waste` or a port's number; default `<name>/inlet`, `gives_to` or
    `<name>/outlet`, `<name>/port3`), `liquid` (LP57; a bottle of 50 mL of it stands at the inlet where nothing else
    does), `initialised` (true; false: it was just switched on), `syringe_error` (relative), `seed`, `faults`.

    Faults, besides those of the line (`silent`, `drop`, `delay`, `truncate`, `garble`):
        reply_lost (int, counts down): so many orders are carried out, and their answers are lost.
        unheard (int, counts down): so many orders are lost on their way.
        busy_stuck (bool): it says busy for ever.
        overload (int, counts down): so many moves of the plunger end half way, and its position is lost.
        valve_jam (int, counts down): so many turns of the valve fail.
        power_cycle (bool, once): at the next command it finds itself just switched on.
    """

    trial = _TRIAL

    FAULTS = {
        "busy_stuck": switch("busy_stuck"),
        "reply_lost": switch("reply_lost", counts=True),
        "ignored": switch("unheard", counts=True),
        "jam": switch("overload", counts=True),
        "stuck_valve": switch("valve_jam", counts=True),
    }

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        settings, options = bench.settings, bench.options
        self.model = str(settings.get("model", "xcalibur"))
        self.full = STEPS[self.model]
        self._pulses = PULSES / self.full
        self.step_volume = microlitres(settings.get("syringe", 1000)) / self.full
        self._char = chr(0x30 + int(str(settings.get("pump", "1")), 16)).encode()
        self._ports = int(settings.get("ports", 0))
        self._memory = self.world.memory(self.name)
        self.barrel = Barrel(self.world, self._memory, float(options.get("syringe_error", 0.0)))
        self.initialised = False
        self.error = NOT_INITIALISED
        self._stalled = OK  # an overload since it was initialised
        self.valve = ""
        self.speeds = dict(SPEEDS)
        self._words: deque[_Word] = deque()
        self._kept: list[_Word] = []  # a string without its R
        self._word: _Word | None = None
        self._begun = self._until = 0.0
        self._from = self._to = 0
        self._travel: Travel | None = None
        self._last_way = 0
        self._ahead = 0.0
        self._line: SharedLine | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Puts it on its line; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        self._memory.setdefault("position", 0)
        self._switch_on()
        if self.bench.options.get("initialised", True):
            self._found_zero()
        inlet = self.place(self._named("inlet"))
        if inlet == f"{self.name}/inlet" and self.world.well(inlet) is None:
            self.world.fill(inlet, {str(self.bench.options.get("liquid", "LP57")): STOCK})
        self._line = await SharedLine.join(self.bench, self._hear, b"\r")
        return {"address": self._line.found}

    async def stop(self) -> None:
        """Takes it off its line: the plunger stops where it is."""
        self._terminate()
        if self._line is not None:
            await self._line.leave(self._hear)
            self._line = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the pump, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    def _switch_on(self) -> None:
        self._terminate()
        self.initialised, self.error, self._stalled = False, NOT_INITIALISED, OK
        self.valve, self.speeds = "", dict(SPEEDS)

    def _found_zero(self) -> None:
        self.initialised, self.error, self._stalled = True, OK, OK
        self.valve = self.valve or self._named("outlet")

    @property
    def position(self) -> int:
        """Steps from its upper end; full is at the lower."""
        return int(self._memory["position"])

    def place(self, port: str) -> str:
        """The place in the world behind a port: I, O, or a number."""
        places = {str(key): str(value) for key, value in (self.bench.options.get("places") or {}).items()}
        names = {self._named(name): name for name in ("waste", "outlet", "inlet")}
        name = names.get(port, port)
        default = f"{self.name}/{name if name in ('inlet', 'outlet', 'waste') else f'port{port}'}"
        if name == "outlet":
            default = str(self.bench.settings.get("gives_to") or default)
        return places.get(port) or places.get(name) or default

    def _named(self, name: str) -> str:
        """The port that the settings call so."""
        if not self._ports:
            return {"inlet": "i", "outlet": "o"}.get(name, "")
        standard = {"inlet": 1, "outlet": 2}.get(name)
        return str(self.bench.settings.get(name) or standard or "")

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _hear(self, message: bytes) -> None:
        head = message.rfind(b"/")
        if head < 0 or message[head + 1 : head + 2] != self._char:
            return
        self._advance()
        if self.faults.pop("power_cycle", None):
            self._switch_on()
        text = message[head + 2 :].decode("ascii", "replace")
        if text.endswith("R") and self._counted("unheard"):
            return
        status, data, order = self._command(text)
        if (not order or not self._counted("reply_lost")) and self._line is not None:
            self._line.send(b"/0" + bytes([status]) + data.encode() + b"\x03\r\n", self.faults)

    def _command(self, text: str) -> tuple[int, str, bool]:
        """Status byte, data, and whether it was an order."""
        if text == "Q":
            busy = self._word is not None or self.faults.get("busy_stuck")
            told = (BUSY if busy else READY) | self.error
            if self.error in (OVERLOAD, VALVE_OVERLOAD):
                self.error = OK  # it is told once; the next move meets it again
            return told, "", False
        report = self._report(text)
        if report is not None:
            return READY | self.error, report, False
        if text in ("T", "TR"):
            self._terminate(valve=False)
            return READY | self.error, "", True
        return BUSY | self._order(text), "", True

    def _report(self, text: str) -> str | None:
        speeds = {"?1": "v", "?2": "V", "?3": "c", "?12": "K"}
        if text in speeds:
            return str(self.speeds[speeds[text]])
        if text in ("?", "?4"):
            return str(self._now_at())
        return {"?6": self.valve, "?28": "0", "F": str(int(bool(self._kept))), "&": FIRMWARE[self.model]}.get(text)

    def _order(self, text: str) -> int:
        """Takes a string of commands; its error."""
        body, runs = text.removesuffix("R"), text.endswith("R")
        words = [_Word(letter, _numbers(numbers)) for letter, numbers in _WORD.findall(body)]
        if "".join(match[0] for match in re.finditer(_WORD, body)) != body or len(text) > 255:
            return INVALID
        if self._word is not None:
            return OVERFLOW
        problem = next((found for word in words if (found := self._problem(word))), OK)
        if problem:
            return problem
        words = self._kept + words
        if self.initialised:
            self.error = OK
        if not runs:
            self._kept = words
            return self.error
        self._kept = []
        moves = next((word.letter for word in words if word.letter in "ZYWAPDIOB"), "")
        if not self.initialised and moves not in ("", "Z", "Y", "W"):
            self.error = self._stalled or self.error or NOT_INITIALISED
            return self.error
        self._words.extend(words)
        self._next(self._now())
        return self.error if self.initialised else OK

    def _problem(self, word: _Word) -> int:
        letter, number = word.letter, word.number
        if letter in "ZYW":
            return OK
        if letter in "IOB":
            if bool(word.numbers) != bool(self._ports) or number > self._ports:
                return OPERAND
            return OK
        if letter in "APD":
            return OK if word.numbers and number <= self.full else OPERAND
        if letter not in _BOUNDS:
            return INVALID
        low, high = _BOUNDS[letter]
        high = FASTEST[self.model] if letter == "V" else high
        return OK if low <= number <= high else OPERAND

    # ── motion ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _advance(self) -> None:
        """Ends what is over, and begins what comes after it."""
        while self._word is not None and self._now() >= self._until - _TINY:
            self._end()
            self._next(self._until)

    def _next(self, now: float) -> None:
        self._until = now
        while self._words and self._word is None:
            word = self._words.popleft()
            seconds = self._begin(word)
            if seconds is None:  # an error: the rest of the string is dropped
                self._words.clear()
            elif seconds > 0:
                self._word, self._begun, self._until = word, now, now + seconds
        if self._word is not None and self._line is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self._until - self._now()), self._advance)

    def _begin(self, word: _Word) -> float | None:
        """Begins one command; the seconds that it takes, or None for an error."""
        letter, number = word.letter, word.number
        if letter in "ZYW":
            self._travel, self.error = None, OK
            return VALVE + self.position * self._pulses / HOME_SPEED + SETTLE
        if letter in "IOB":
            wanted = str(number) if self._ports else letter.lower()
            return 0.0 if wanted == self.valve else VALVE
        if letter in "APD":
            return self._set_off(letter, number)
        if letter == "M":
            return number / 1000
        if letter == "S":
            self.speeds["V"] = S_CODES[number] if number < len(S_CODES) else 200 - 5 * (number - 17)
        else:
            self.speeds[letter] = number
        return 0.0

    def _set_off(self, letter: str, number: int) -> float | None:
        if self.valve == "b":
            self.error = BYPASS
            return None
        target = {"A": number, "P": self.position + number, "D": self.position - number}[letter]
        if not 0 <= target <= self.full:
            self.error = OPERAND
            return None
        self._from, self._to = self.position, target
        speeds = self.speeds
        distance = abs(target - self.position) * self._pulses
        self._travel = Travel(distance, speeds["v"], speeds["V"], speeds["L"] * SLOPE)
        return self._travel.duration if distance else 0.0

    def _now_at(self) -> int:
        """Where the plunger is just now."""
        if self._word is None or self._travel is None or self._word.letter not in "APD":
            return self.position
        gone = self._travel.travelled(min(self._now(), self._until) - self._begun) / self._pulses
        return round(self._from + gone * (1 if self._to > self._from else -1))

    def _end(self) -> None:
        """The command under way has come to its end, or to its error."""
        word, self._word = self._word, None
        assert word is not None
        if word.letter in "ZYW":
            if word.letter != "W":
                self.valve = str(word.numbers[2]) if self._ports and len(word.numbers) > 2 else self._named("outlet")
            self._move_to(0, self.valve)
            self._found_zero()
        elif word.letter in "IOB":
            self._turned(str(word.number) if self._ports else word.letter.lower())
        elif word.letter in "APD":
            stalls = self._counted("overload")
            self._move_to((self._from + self._to) // 2 if stalls else self._to, self.valve)
            if stalls:
                self._fail(OVERLOAD)

    def _turned(self, port: str) -> None:
        if self._counted("valve_jam"):
            self._fail(VALVE_OVERLOAD)
        else:
            self.valve = port

    def _fail(self, error: int) -> None:
        self.initialised, self.error, self._stalled = False, error, error
        self._words.clear()

    def _counted(self, fault: str) -> bool:
        left = int(self.faults.get(fault) or 0)
        if left:
            self.faults[fault] = left - 1
        return left > 0

    def _move_to(self, target: int, port: str) -> None:
        """The plunger stands there now: what it has displaced went through the port."""
        way = (target > self.position) - (target < self.position)
        steps = abs(target - self.position)
        if way and self._last_way and way != self._last_way:  # the pump makes up for so much play as it is told of
            steps = max(0, steps - max(0, PLAY - self.speeds["K"]))
        self._last_way = way or self._last_way
        port = port or self._named("inlet" if way > 0 else "outlet")  # a pump without a valve has one line
        if way > 0:
            self.barrel.draw(self.place(port), steps * self.step_volume)
        elif way < 0:
            self.barrel.give(self.place(port), steps * self.step_volume, clock.now().timestamp())
        self._memory["position"] = target
        self.world.save()

    def _terminate(self, *, valve: bool = True) -> None:
        """`T`: the plunger stops where it is. A valve goes on to its port, but when the power is cut."""
        self._words.clear()
        word = self._word
        if word is None or (word.letter in "IOB" and not valve):
            return
        if word.letter in "APD":
            self._move_to(self._now_at(), self.valve)
        elif word.letter in "ZYW":
            self.initialised, self.error = False, NOT_INITIALISED
        self._word = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one)


SIMULATOR = CavroSimulator
