"""The register maps of the two profiles: unit 1, addresses from zero, 32-bit values with their words swapped (CDAB)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from simulators._kit.modbus import ILLEGAL_ADDRESS, READ_COILS, READ_HOLDING, ModbusError
from simulators.plc_crimper.plc import HEARTBEAT, Plc

COMMANDS = (
    "start",
    "stop",
    "reset",
    "hand",
    "auto",
    "init",
    "recipe_request",
    "open_ram",
    "close_ram",
    "heartbeat_out",
)
HOLDING = 4
INPUTS = 13


def words(packed: bytes, *, swapped: bool) -> tuple[int, int]:
    """The two registers of a 32-bit value given big-endian: CDAB, or ABCD when `swapped` (the fault)."""
    high, low = struct.unpack(">HH", packed)
    return (high, low) if swapped else (low, high)


def real(registers: Sequence[int], *, swapped: bool) -> float:
    """The float32 in two registers; the reverse of `words`."""
    low, high = reversed(registers) if swapped else registers
    value: float = struct.unpack(">f", struct.pack(">HH", high, low))[0]
    return value


class _Map:
    """What both maps share. `look` brings the program up to now, `changed` is called after a write."""

    def __init__(self, plc: Plc, look: Callable[[], None], changed: Callable[[], None]) -> None:
        self._plc = plc
        self._look = look
        self._changed = changed

    def _slice(self, values: Sequence[bool], address: int, count: int) -> Sequence[bool]:
        if address + count > len(values):
            raise ModbusError(ILLEGAL_ADDRESS)
        return values[address : address + count]


class Handshake(_Map):
    """Profile `handshake`: a status for every command, a recipe, sensors, peak, counter, alarms, a heartbeat."""

    def __init__(self, plc: Plc, look: Callable[[], None], changed: Callable[[], None]) -> None:
        super().__init__(plc, look, changed)
        self._holding = [0] * HOLDING
        self._booted: float | None = None

    def read_bits(self, function: int, address: int, count: int) -> Sequence[bool]:
        """Coils: the commands, read back. Discrete inputs: the statuses."""
        self._look()
        if function == READ_COILS:
            return self._slice([self._plc.commanded(name) for name in COMMANDS], address, count)
        plc, status = self._plc, self._plc.status
        statuses = [
            plc.running,
            status.stopped,
            status.reset_done,
            status.hand,
            status.auto,
            status.initialised,
            status.recipe_ready,
            plc.ram_open,
            plc.ram_closed,
            int(self._uptime() / HEARTBEAT) % 2 == 1,
            plc.estop,
            plc.guard_closed,
            plc.light_curtain_clear,
            plc.alarm != 0,
            status.cycle_done,
        ]
        return self._slice(statuses, address, count)

    def read_words(self, function: int, address: int, count: int) -> Sequence[int]:
        """Holding: the recipe as written. Input: what is measured and counted."""
        self._look()
        registers = self._holding if function == READ_HOLDING else self._inputs()
        if address + count > len(registers):
            raise ModbusError(ILLEGAL_ADDRESS)
        return registers[address : address + count]

    def _inputs(self) -> list[int]:
        plc = self._plc
        swapped = bool(plc.faults.get("swap_words"))
        registers: list[int] = []
        for value in (plc.force, plc.ram, plc.peak, plc.displacement):
            registers += words(struct.pack(">f", value), swapped=swapped)
        for count in (plc.cycles, int(self._uptime())):
            registers += words(struct.pack(">I", count & 0xFFFFFFFF), swapped=swapped)
        return [*registers, int(plc.alarm)]

    def _uptime(self) -> float:
        if self._booted is None:
            self._booted = self._plc.now
        return self._plc.now - self._booted

    def write_bits(self, address: int, values: Sequence[bool]) -> None:
        """Commands."""
        self._look()
        if address + len(values) > len(COMMANDS):
            raise ModbusError(ILLEGAL_ADDRESS)
        for name, value in zip(COMMANDS[address:], values, strict=False):
            self._plc.command(name, value, self._recipe)
        self._changed()

    def write_words(self, address: int, values: Sequence[int]) -> None:
        """The recipe; it counts when `recipe_request` comes."""
        self._look()
        if address + len(values) > HOLDING:
            raise ModbusError(ILLEGAL_ADDRESS)
        self._holding[address : address + len(values)] = values

    def _recipe(self) -> tuple[float, float]:
        swapped = bool(self._plc.faults.get("swap_words"))
        return real(self._holding[0:2], swapped=swapped), real(self._holding[2:4], swapped=swapped)


class Relay(_Map):
    """Profile `relay`: coil 0 presses, discrete input 0 says busy. The force is set at the press."""

    def read_bits(self, function: int, address: int, count: int) -> Sequence[bool]:
        """The coil, or the busy contact."""
        self._look()
        bit = self._plc.commanded("start") if function == READ_COILS else self._plc.running
        return self._slice([bit], address, count)

    def read_words(self, function: int, address: int, count: int) -> Sequence[int]:
        """There are none."""
        del function, address, count
        raise ModbusError(ILLEGAL_ADDRESS)

    def write_bits(self, address: int, values: Sequence[bool]) -> None:
        """The coil."""
        self._look()
        if address != 0 or len(values) != 1:
            raise ModbusError(ILLEGAL_ADDRESS)
        self._plc.command("start", values[0])
        self._changed()

    def write_words(self, address: int, values: Sequence[int]) -> None:
        """There are none."""
        del address, values
        raise ModbusError(ILLEGAL_ADDRESS)
