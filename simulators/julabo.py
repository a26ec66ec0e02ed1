"""A Julabo refrigerated and heating circulator on its serial line."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from labd import clock
from simulators._kit.pty import PtyServer
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators.faults.knobs import switch

VERSION = "JULABO CORIO CP Version 1.3"
LEAST, MOST = -40.0, 150.0  # °C; working range
FIRST_SETPOINT = 20.0  # °C; what it has after power-up: remote values are forgotten with the power
NEAR = 60.0  # s; time constant of the last degrees
COOLS_BY_ITSELF = 2 * 3600.0  # s; time constant of a bath that is switched off
NOISE = 0.005  # °C
GAP = 0.25  # s between two commands; a setting that follows sooner is lost
_TINY = 1e-3  # s; timers fire up to one tick of the clock early

_INVALID, _BY_HAND, _SMALL, _LARGE = (
    "-08 INVALID COMMAND",
    "-09 COMMAND NOT ALLOWED IN CURRENT OPERATING MODE",
    "-10 VALUE TOO SMALL",
    "-11 VALUE TOO LARGE",
)
_LOW_LEVEL = "-01 LOW LEVEL ALARM"


class Bath:
    """The fluid in its tank, in °C.

    Args:
        temperature: at the beginning.
        ambient: of the room.
        rate: K/s that heater and cooler can do.
    """

    def __init__(self, temperature: float, ambient: float, rate: float) -> None:
        self.temperature = temperature
        self._ambient = ambient
        self._rate = rate

    def step(self, dt: float, setpoint: float | None, slow: float = 1.0) -> None:
        """Lets so many seconds pass; no setpoint: it is switched off. `slow`: so many times weaker."""
        if setpoint is None:
            self.temperature = _approach(self.temperature, self._ambient, math.inf, COOLS_BY_ITSELF, dt)
        else:
            self.temperature = _approach(self.temperature, setpoint, self._rate / slow, NEAR * slow, dt)


def _approach(value: float, target: float, rate: float, constant: float, dt: float) -> float:
    """Towards a target, at a rate while it is far off, and at last by a time constant."""
    off = target - value
    band = rate * constant
    if abs(off) > band:
        ramp = min(dt, (abs(off) - band) / rate)
        value += math.copysign(rate * ramp, off)
        dt -= ramp
    return target - (target - value) * math.exp(-dt / constant)


class JulaboSimulator(Simulator):
    """The thermostat `<name>`, set to remote control.

    Settings: `address` (`serial://path` or a path for a pty; `tcp://host:port`).
    Options: `temperature`, `ambient` (°C), `rate` (K/min), `seed`, `faults`.

    Faults, besides those of the line (see `PtyServer`, `TextServer`; `silent` and `delay` of both):
        low_level (bool): alarm: heater and pump are off, and stay off.
        slow (factor): heats and cools so many times weaker.
        lost_setpoint (int, counts down): so many setpoints do not arrive.
        power_dip (bool, once): at the next command it finds itself just switched on: first setpoint, and off.
        by_hand (bool): somebody has taken it over at its panel.
    """

    FAULTS = {
        "leak": switch("low_level"),
        "slow": switch("slow", unit="1", default=3.0),
        "ignored": switch("lost_setpoint", counts=True),
        "by_hand": switch("by_hand"),
    }
    BY_HAND = {"tcp": "printf 'in_pv_00\\r' | nc -q 1 {host} {port}"}

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        memory = self.world.memory(self.name)
        ambient = float(bench.options.get("ambient", 22.0))
        rate = float(bench.options.get("rate", 3.0)) / 60
        self.bath = Bath(float(memory.get("temperature", bench.options.get("temperature", ambient))), ambient, rate)
        self.setpoint = FIRST_SETPOINT
        self.running = False
        self._rng: random.Random = bench.random()
        self._error: str | None = None
        self._pty: PtyServer | None = None
        self._tcp: TextServer | None = None
        self._input = b""
        self._now = 0.0
        self._ahead = 0.0
        self._free_at = -math.inf

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Switches it on: first setpoint, off, remote; gives `address`.

        Raises:
            OSError: the port is taken.
            PtyError: the link cannot be made.
        """
        self._now = clock.monotonic() + self._ahead
        address = str(self.bench.settings.get("address") or f"{self.name}.pty")
        scheme, _, rest = address.rpartition("://")
        if scheme == "tcp":
            self._tcp = TextServer(self._on_message, end=b"\r", faults=self.faults, out=b"\r\n")
            host, port = host_and_port(address, 0)
            return {"address": f"tcp://{host}:{await self._tcp.start(host, port)}"}
        path, question, options = rest.partition("?")
        self._pty = PtyServer(self.bench.directory / Path(path), self._receive, self.faults)
        found = await self._pty.start()
        return {"address": f"serial://{found}{question}{options}" if scheme else found}

    async def stop(self) -> None:
        """Cuts the power."""
        self._advance()
        self.world.memory(self.name)["temperature"] = self.bath.temperature
        if self._tcp is not None:
            await self._tcp.stop()
            self._tcp = None
        if self._pty is not None:
            await self._pty.stop()
            self._pty = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the bath, beside the lab's own time."""
        self._ahead += dt
        self._advance()

    def _advance(self) -> None:
        now = clock.monotonic() + self._ahead
        if self.faults.get("low_level"):
            self.running = False
        slow = float(self.faults.get("slow") or 1.0)
        self.bath.step(now - self._now, self.setpoint if self.running else None, slow)
        self._now = now

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _receive(self, data: bytes) -> None:
        *lines, self._input = (self._input + data).split(b"\r")
        for line in lines:
            answer = self._command(line.decode("ascii", "replace"))
            if answer is not None and self._pty is not None:
                self._pty.write(answer.encode() + b"\r\n")

    def _on_message(self, client: Client, message: str) -> None:
        answer = self._command(message)
        if answer is not None:
            client.send(answer)

    def _command(self, line: str) -> str | None:
        """Carries one command out; the answer, None where there is none."""
        self._advance()
        if self.faults.pop("power_dip", None):
            self.setpoint, self.running, self._error = FIRST_SETPOINT, False, None
        hurried = self._now < self._free_at - _TINY
        self._free_at = self._now + GAP
        command, _, parameter = line.strip().lower().partition(" ")
        if command.startswith("out_"):
            if not hurried:
                self._error = self._set(command, parameter)
            return None
        answer = self._tell(command) if not parameter else None
        if answer is None:
            self._error = _INVALID
        return answer

    def _tell(self, command: str) -> str | None:
        match command:
            case "version":
                return VERSION
            case "status":
                return self._status()
            case "in_pv_00":
                return f"{self.bath.temperature + self._rng.gauss(0.0, NOISE):.2f}"
            case "in_sp_00":
                return f"{self.setpoint:.2f}"
            case "in_mode_05":
                return f"{self.running:d}"
        return None

    def _status(self) -> str:
        if self.faults.get("low_level"):
            return _LOW_LEVEL
        error, self._error = self._error, None
        if error is not None:
            return error
        who = "MANUAL" if self.faults.get("by_hand") else "REMOTE"
        number = 2 * (who == "REMOTE") + self.running
        return f"{number:02d} {who} {'START' if self.running else 'STOP'}"

    def _set(self, command: str, parameter: str) -> str | None:
        """Takes a setting; the error that `status` then tells."""
        try:
            value = float(parameter)
        except ValueError:
            return _INVALID
        if self.faults.get("by_hand"):
            return _BY_HAND
        match command:
            case "out_sp_00":
                return self._take_setpoint(value)
            case "out_mode_05" if value in (0, 1):
                self.running = bool(value) and not self.faults.get("low_level")
                return None
        return _INVALID

    def _take_setpoint(self, value: float) -> str | None:
        if self.faults.get("lost_setpoint"):
            self.faults["lost_setpoint"] = int(self.faults["lost_setpoint"]) - 1
            return None
        if not LEAST <= value <= MOST:
            return _SMALL if value < LEAST else _LARGE
        self.setpoint = round(value, 2)
        return None


SIMULATOR = JulaboSimulator
