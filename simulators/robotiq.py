"""A Robotiq 2F gripper on Modbus RTU or TCP: its registers, its fingers, and what is between them.

Source: Robotiq 2F-85 and 2F-140 Instruction Manual, chapter control (registers, status, faults).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labd import clock
from simulators._kit.modbus import ILLEGAL_ADDRESS, ModbusError, ModbusRtuServer, ModbusTcpServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import host_and_port
from simulators._kit.trial import Trial
from simulators._kit.world import Cell, World
from simulators.faults.knobs import switch

OUTPUTS, INPUTS, COUNT = 1000, 2000, 3
STROKES = {"2f85": 85.0, "2f140": 140.0, "hand_e": 50.0}  # mm
SPEEDS = {"2f85": (20.0, 150.0), "2f140": (30.0, 250.0), "hand_e": (20.0, 150.0)}  # mm/s at 0 and 255
MEET = {"2f85": 230, "2f140": 230, "hand_e": 255}  # the count at which the fingers touch each other
ACTIVATION = 2.5  # s; it opens and closes once
PART = 20.0  # mm; a CR2032
WIDTHS = {"vial": 27.5}  # mm
HOT, OVERCURRENT, NOT_ACTIVATED, ACTIVATING, FAILED = 8, 14, 7, 5, 13
_CURRENT = 12  # in 10 mA, while it moves


def _lay(world: World) -> None:
    world.put("gripper/jaws", Cell(id="c1"))


class RobotiqSimulator(Simulator):
    """The gripper `<name>`, which has been activated and stands open.

    What lies at its place in the world is between its fingers when they close, and stays there when they open.

    Settings: `address` (`serial://path` or a path for a pty; `modbus://host:port`), `device_id`, `model`.
    Options: `place` (default `<name>/jaws`), `part_width` (mm; default 20, a vial 27.5), `activated` (true; false: it
    was just switched on), `seed`, `faults`.

    Faults, besides those of the line (`silent`, `reply_lost`, `reply_delay`; on a pty those of `PtyServer`):
        jam (bool): the fingers meet something half way, and it tells an overcurrent.
        dropped_pick (int, counts down): so many grips close on nothing though a part is there.
        busy_stuck (bool): its fingers never come to rest.
        hot (bool): it tells that it is too hot, and moves nothing.
        power_cycle (bool, once): at the next request it finds itself just switched on.
    """

    trial = Trial(name="gripper", furnish=_lay, effect=lambda simulator: {"count": simulator.count})

    FAULTS = {
        "jam": switch("jam"),
        "dropped_pick": switch("dropped_pick", counts=True),
        "busy_stuck": switch("busy_stuck"),
        "overheat": switch("hot"),
    }

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.model = str(bench.settings.get("model", "2f85"))
        self.place = str(bench.options.get("place") or f"{self.name}/jaws")
        self._memory = self.world.memory(self.name)
        self._registers = [0, 0, 0]
        self._activated_at = 0.0
        self._from = self._target = 0.0  # counts
        self._began = 0.0
        self._slips = False
        self._ahead = 0.0
        self._server: ModbusRtuServer | ModbusTcpServer | None = None
        self._forget: Callable[[], None] = lambda: None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Puts it on its line; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        self._from = self._target = float(self._memory.setdefault("count", 0.0))
        if self.bench.options.get("activated", True):
            self._registers = [0x0100, round(self._from), 0]
            self._activated_at = self._now() - ACTIVATION
        self._began = self._now()
        self._forget = self.world.on_change(self._felt)
        address, unit = str(self.bench.settings.get("address") or f"{self.name}.pty"), self._unit_id
        scheme, _, rest = address.rpartition("://")
        if scheme == "modbus":
            tcp = self._server = ModbusTcpServer(self, unit, self.faults)
            host, port = host_and_port(address, 502)
            return {"address": f"modbus://{host}:{await tcp.start(host, port)}"}
        path, question, options = rest.partition("?")
        rtu = self._server = ModbusRtuServer(self.bench.directory / Path(path), self, unit, self.faults)
        return {"address": f"serial://{await rtu.start()}{question}{options}"}

    @property
    def _unit_id(self) -> int:
        return int(self.bench.settings.get("device_id", 9))

    async def stop(self) -> None:
        """Takes it off its line: the fingers stay where they are."""
        self._forget()
        self._forget = lambda: None
        self._memory["count"] = self.count
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the fingers, beside the lab's own time."""
        self._ahead += dt

    # ── fingers ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    @property
    def width(self) -> float:
        """How far apart they are, mm."""
        return max(0.0, STROKES[self.model] * (1 - self.count / MEET[self.model]))

    @property
    def count(self) -> float:
        """Their position, 0 (open) to 255 (closed)."""
        gone = min(abs(self._target - self._from), max(0.0, self._now() - self._began) * self._speed)
        return self._from + gone * (1 if self._target > self._from else -1)

    @property
    def _going(self) -> bool:
        return self._registers[0] & 0x0900 == 0x0900 and not self.faults.get("hot")

    @property
    def _asked(self) -> int:
        return self._registers[1] & 0xFF

    @property
    def _speed(self) -> float:
        """Counts a second."""
        low, high = SPEEDS[self.model]
        return (low + (high - low) * (self._registers[2] >> 8) / 255) * MEET[self.model] / STROKES[self.model]

    def _set_off(self, at: float) -> None:
        """From where they are now they go where they can, as soon as they are active."""
        self._from, self._began = at, max(self._now(), self._activated_at + ACTIVATION)
        self._target = self._goal() if self._going else at

    def _goal(self) -> float:
        """Where their way ends: as asked for, at a part, at each other, or half way."""
        goal = float(min(self._asked, MEET[self.model]))
        if self.faults.get("jam"):
            return (self._from + goal) / 2
        part = self._part()
        return goal if part is None or goal < self._from else min(goal, max(part, self._from))

    def _part(self) -> float | None:
        """The count at which they touch what lies between them."""
        item = self.world.item(self.place)
        if item is None or self._slips:
            return None
        width = WIDTHS.get(getattr(item, "name", ""), float(self.bench.options.get("part_width", PART)))
        return MEET[self.model] * (1 - width / STROKES[self.model])

    def _felt(self) -> None:
        """What is between them has come or gone."""
        self._set_off(self.count)

    # ── registers ────────────────────────────────────────────────────────────────────────────────────────────────
    def read_bits(self, function: int, address: int, count: int) -> Sequence[bool]:
        del function, address, count
        raise ModbusError(ILLEGAL_ADDRESS)

    def write_bits(self, address: int, values: Sequence[bool]) -> None:
        del address, values
        raise ModbusError(ILLEGAL_ADDRESS)

    def read_words(self, function: int, address: int, count: int) -> Sequence[int]:
        """Both functions read both tables, as the gripper's firmware has it."""
        del function
        self._look()
        for first, words in ((INPUTS, self._status()), (OUTPUTS, self._registers)):
            if first <= address and address + count <= first + COUNT:
                return words[address - first : address - first + count]
        raise ModbusError(ILLEGAL_ADDRESS)

    def write_words(self, address: int, values: Sequence[int]) -> None:
        if not OUTPUTS <= address <= address + len(values) <= OUTPUTS + COUNT:
            raise ModbusError(ILLEGAL_ADDRESS)
        self._look()
        at, was_active = self.count, self._registers[0] & 0x0100
        self._registers[address - OUTPUTS : address - OUTPUTS + len(values)] = [int(value) & 0xFFFF for value in values]
        if self._registers[0] & 0x0100 and not was_active:
            self._activated_at, at = self._now(), 0.0
        if self._going and self._asked > at:
            left = int(self.faults.get("dropped_pick") or 0)
            self._slips = left > 0
            self.faults["dropped_pick"] = max(0, left - 1)
        self._set_off(at)

    def _look(self) -> None:
        if self.faults.pop("power_cycle", None):
            at, self._registers = self.count, [0, 0, 0]
            self._set_off(at)
        if self.faults.get("hot"):
            self._set_off(self.count)

    def _state(self) -> int:
        """gSTA: 0 reset, 1 activating, 3 active."""
        if not self._registers[0] & 0x0100:
            return 0
        return 3 if self._now() - self._activated_at >= ACTIVATION else 1

    def _object(self) -> int:
        """gOBJ: 0 moving, 1 and 2 something met, 3 arrived."""
        if self._state() != 3 or self.faults.get("busy_stuck") or abs(self.count - self._target) > 0.5:
            return 0
        if abs(self._target - min(self._asked, MEET[self.model])) <= 0.5:
            return 3
        return 2 if self._asked > self._target else 1

    def _fault(self) -> int:
        if self.faults.get("hot"):
            return HOT
        if self.faults.get("jam") and self._going and self._object() in (1, 2):
            return OVERCURRENT
        wants = self._registers[0] & 0x0800
        if wants and self._state() != 3:
            return NOT_ACTIVATED if self._state() == 0 else ACTIVATING
        return 0

    def _status(self) -> list[int]:
        bits = (self._registers[0] >> 8) & 0x09 | self._state() << 4
        if self._going:
            bits |= self._object() << 6
        moves = self._going and self._state() == 3 and self._object() == 0
        low = round(self.count) & 0xFF
        return list(struct.unpack(">3H", bytes([bits, 0, self._fault(), self._asked, low, _CURRENT * moves])))


SIMULATOR = RobotiqSimulator
