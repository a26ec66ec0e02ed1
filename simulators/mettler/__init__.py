"""A Mettler Toledo balance with MT-SICS, on a serial line or TCP, that weighs what really stands on its pan."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd import clock
from simulators._kit.matter import mass_at
from simulators._kit.pty import PtyServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators.faults.knobs import switch
from simulators.mettler.pan import Pan

MODEL = "MS204TS Standard"
FIRMWARE = "1.20 24.6.7.1361.781"
END = b"\r\n"
ZERO_RANGE = 0.02  # of the capacity
TRACKED = 5  # digits off zero that a balance at rest brings back to zero by itself
LEAST = -1.0  # g below zero: the pan is off
LOOK = 0.1  # s between two looks whether the pan is at rest, while an order waits for it

_UNITS = {"g": (1.0, 0), "mg": (1e3, -3), "kg": (1e-3, 3)}  # factor, and decimals more than in g
_PROMPT = frozenset({"I2", "I3", "I4", "@"})
_WEIGHING = {"S": "S", "SI": "S", "T": "T", "Z": "Z"}  # by what the answer begins with

Reply = Callable[[str], None]


@dataclass(frozen=True)
class _Waiting:
    """An order that waits for rest, until its own time is over."""

    command: str
    reply: Reply
    until: float


class MettlerSimulator(Simulator):
    """The balance `<name>`, switched on with an empty pan.

    It weighs all cells, parts and liquids at the place `pan` (default `<name>/pan`) and in the wells of it, by the
    densities in `simulators._kit.matter`; racks and empty vials on it are part of the dead load.

    Settings: `address` (`tcp://host:port`; `serial://path` or a path for a pty), `pan`, `serial_number`.
    Options: `capacity` (g), `readability` (g), `repeatability` (g), `timeout` (s that S, T and Z wait for rest),
    `unit` (g, mg, kg), `seed`, `faults`.

    Faults, besides those of the line (see `PtyServer`, `TextServer`; `silent` and `delay` of both):
        unstable (bool): a draught: the pan never comes to rest.
        drift (g/h): the reading creeps, and calls itself stable.
        overload, underload (bool): out of range whatever stands on it.
        busy (bool): it adjusts itself, and can do nothing else.
        damaged (int, counts down): so many commands arrive damaged.
    """

    FAULTS = {
        "drift": switch("drift", unit="g/h"),
        "unstable": switch("unstable"),
        "overload": switch("overload"),
        "underload": switch("underload"),
        "busy_stuck": switch("busy"),
        "ignored": switch("damaged", counts=True),
    }
    BY_HAND = {"tcp": "printf 'SI\\r\\n' | nc -q 1 {host} {port}"}

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        options = bench.options
        self.capacity = float(options.get("capacity", 220.0))
        readability = float(options.get("readability", 1e-4))
        self._decimals = len(f"{readability:.10f}".rstrip("0").partition(".")[2])
        self._timeout = float(options.get("timeout", 40.0))
        self._unit = str(options.get("unit", "g"))
        if self._unit not in _UNITS:
            raise ValueError(f"unit {self._unit!r} is none of {', '.join(_UNITS)}")
        self.pan_place = str(bench.settings.get("pan") or f"{self.name}/pan")
        self.serial_number = str(
            bench.settings.get("serial_number") or f"B{zlib.crc32(self.name.encode()) % 10**9:09d}"
        )
        self.pan = Pan(
            bench.random(),
            self.faults,
            readability=readability,
            repeatability=float(options.get("repeatability", 1e-4)),
        )
        self._pty: PtyServer | None = None
        self._tcp: TextServer | None = None
        self._input = b""
        self._waiting: _Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0
        self._forget: Callable[[], None] = lambda: None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Switches the balance on; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        self.world.memory(self.name).setdefault("zero", 0.0)
        self.world.memory(self.name).setdefault("tare", 0.0)
        self.pan.start(mass_at(self.world, self.pan_place), self._now())
        self._forget = self.world.on_change(self._felt)
        address = str(self.bench.settings.get("address") or f"{self.name}.pty")
        scheme, _, rest = address.rpartition("://")
        if scheme == "tcp":
            self._tcp = TextServer(self._on_message, end=END, faults=self.faults)
            host, port = host_and_port(address, 0)
            return {"address": f"tcp://{host}:{await self._tcp.start(host, port)}"}
        path, question, options = rest.partition("?")
        self._pty = PtyServer(self.bench.directory / Path(path), self._receive, self.faults)
        found = await self._pty.start()
        return {"address": f"serial://{found}{question}{options}" if scheme else found}

    async def stop(self) -> None:
        """Switches it off: what waited is lost."""
        self._forget()
        self._forget = lambda: None
        self._cancel()
        if self._tcp is not None:
            await self._tcp.stop()
            self._tcp = None
        if self._pty is not None:
            await self._pty.stop()
            self._pty = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the pan, beside the lab's own time."""
        self._ahead += dt
        self._look()

    def press_print(self) -> None:
        """Somebody presses the print key: a weight that nobody asked for."""
        self.pan.advance(self._now())
        self._send(self._weight("S"))

    # ── physics ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _now(self) -> float:
        return clock.monotonic() + self._ahead

    def _felt(self) -> None:
        self.pan.advance(self._now())
        self.pan.put(mass_at(self.world, self.pan_place))

    def _gross(self) -> float:
        return self.pan.read() - float(self.world.memory(self.name)["zero"])

    def _out_of_range(self, gross: float) -> str | None:
        if self.faults.get("overload") or gross > self.capacity:
            return "+"
        return "-" if self.faults.get("underload") or gross < LEAST else None

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _receive(self, data: bytes) -> None:
        *lines, self._input = (self._input + data).split(END)
        for line in lines:
            self._command(line.decode("ascii", "replace"), self._send)

    def _on_message(self, client: Client, message: str) -> None:
        self._command(message, client.send)

    def _send(self, text: str) -> None:
        if self._pty is not None:
            self._pty.write(text.encode() + END)
        elif self._tcp is not None:
            self._tcp.send(text)

    def _command(self, line: str, reply: Reply) -> None:
        self.pan.advance(self._now())
        if self.faults.get("damaged"):
            self.faults["damaged"] = int(self.faults["damaged"]) - 1
            reply("ET")
            return
        command, _, parameter = line.strip().partition(" ")
        echo = _WEIGHING.get(command)
        if command in _PROMPT and not parameter:
            reply(self._tell(command))
        elif echo is None:
            reply("ES")
        elif parameter:
            reply(f"{echo} L")
        elif self.faults.get("busy") or self._waiting is not None:
            reply(f"{echo} I")
        elif command == "SI":
            reply(self._weight(echo))
        else:
            self._waiting = _Waiting(command, reply, self._now() + self._timeout)
            self._look()

    def _tell(self, command: str) -> str:
        if command == "I2":
            return f'I2 A "{MODEL} {self.capacity:.{self._decimals}f} g"'
        if command == "I3":
            return f'I3 A "{FIRMWARE}"'
        if command == "@":
            self._cancel()
        return f'I4 A "{self.serial_number}"'

    def _cancel(self) -> None:
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── orders that wait for rest ────────────────────────────────────────────────────────────────────────────────
    def _look(self) -> None:
        """Carries out what waits, once the pan is at rest; looks again soon where it is not."""
        self.pan.advance(self._now())
        waiting = self._waiting
        if waiting is None:
            return
        done = self._now() >= waiting.until or self.pan.at_rest or self._out_of_range(self._gross()) is not None
        self._cancel()
        if done:
            waiting.reply(self._carry_out(waiting.command))
            return
        self._waiting = waiting
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _carry_out(self, command: str) -> str:
        gross = self._gross()
        out = self._out_of_range(gross)
        if out is not None or not self.pan.at_rest:
            return f"{command} {out or 'I'}"
        memory = self.world.memory(self.name)
        if command == "S":
            return self._weight("S")
        if command == "Z":
            if abs(gross) > ZERO_RANGE * self.capacity:
                return f"Z {'+' if gross > 0 else '-'}"
            memory["zero"], memory["tare"] = memory["zero"] + gross, 0.0
            self.world.save()
            return "Z A"
        if gross < -TRACKED * 10.0**-self._decimals:
            return "T -"
        memory["tare"] = gross
        self.world.save()
        return f"T S {self._number(gross)}"

    def _weight(self, echo: str) -> str:
        gross = self._gross()
        out = self._out_of_range(gross)
        if out is not None:
            return f"{echo} {out}"
        net = gross - float(self.world.memory(self.name)["tare"])
        return f"{echo} {'S' if self.pan.at_rest else 'D'} {self._number(net)}"

    def _number(self, grams: float) -> str:
        """Ten characters, then the unit."""
        factor, fewer = _UNITS[self._unit]
        value = round(round(grams, self._decimals) * factor, 9) + 0.0  # never -0.0000
        return f"{value:>10.{max(0, self._decimals + fewer)}f} {self._unit}"


SIMULATOR = MettlerSimulator
