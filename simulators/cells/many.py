"""Many cells at once: the formulas of `spme.py` over numpy arrays.

For virtual experiments by the thousand. One cell goes faster through `CellModel`, below some six cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulators.cells import spme
from simulators.cells.build import CAPACITY, LEAST_WETTED, Build, Condition, blank_resistance, condition
from simulators.cells.chen2020 import DX, DY, GRAPHITE, LOW, NMC, POINTS, STEP, X0, Y0
from simulators.cells.impedance import impedance, of_blank, of_leads
from simulators.cells.model import FADED, FADING, FORMING, LEAKED, SUBSTEP, UNCHARGED

Floats = NDArray[np.float64]

_GRAPHITE, _NMC = np.array(GRAPHITE), np.array(NMC)
_A, _B, _D = spme.A, spme.B, spme.D
LONGEST = 2.0  # of a half cycle, as a part of what the nominal capacity takes: a shorted cell never ends by itself


@dataclass(slots=True)
class _Numbers:
    """`spme.Numbers` of all cells: floats as (n), modes as (8, n), what the salt does as (3, n)."""

    capacity: Floats
    drive_x: Floats
    drive_y: Floats
    taus: Floats
    gains: Floats
    salt_n: Floats
    salt_s: Floats
    salt_p: Floats
    kinetic_n: Floats
    kinetic_p: Floats
    thermal: Floats
    diffusive: Floats
    fixed: Floats
    pores_n: Floats
    pores_s: Floats
    pores_p: Floats
    shunt: Floats

    @classmethod
    def of(cls, cells: Sequence[spme.Numbers]) -> _Numbers:
        return cls(*(np.array([getattr(cell, name) for cell in cells]).T.copy() for name in spme.Numbers._fields))

    def change(self, index: int, cell: spme.Numbers) -> None:
        for one in fields(self):
            getattr(self, one.name)[..., index] = getattr(cell, one.name)


@dataclass(frozen=True, slots=True)
class _Ended:
    voltage: Floats
    applied: Floats
    inner: Floats
    modes: Floats
    stored: Floats


@dataclass(frozen=True, slots=True)
class Cycled:
    """One cycle of many cells: mAh in and out, mWh out; NaN of cells that do not conduct."""

    charge: Floats
    discharge: Floats
    energy: Floats

    @property
    def efficiency(self) -> Floats:
        """Coulombic, 0 to 1."""
        return np.asarray(self.discharge / self.charge)


def _no_cell(build: Build, state: Condition, frequency: float) -> complex:
    """Impedance, Ω, of a blank cell, or of leads that touch nothing."""
    ohms = blank_resistance(build, state)
    return of_leads(frequency) if ohms is None else of_blank(ohms, frequency)


class Cells:
    """Many cells, each of its own build, with one clock.

    Args:
        builds: how they were made.
        temperature: °C, of all.
    """

    def __init__(self, builds: Sequence[Build], temperature: float = 25.0) -> None:
        self.builds = list(builds)
        self._temperature = temperature
        count = len(self.builds)
        self.fade, self.fading, self.lost, self.leaking = (np.zeros(count) for _ in range(4))
        self.sei, self.passed, self.current = (np.zeros(count) for _ in range(3))
        self.modes: Floats = np.zeros((spme.MODES, count))
        self._states = [condition(build, {}, temperature) for build in self.builds]
        self._numbers = _Numbers.of([state.numbers for state in self._states])
        self._wear, self._wetted = np.zeros(count), np.zeros(count)
        for index, state in enumerate(self._states):
            self._wear[index], self._wetted[index] = state.wear, state.wetted
        self._nominal, self._film, self._leak = (
            np.array([getattr(build, name) for build in self.builds]) for name in ("nominal", "film", "leak")
        )
        self.q: Floats = UNCHARGED * self._numbers.capacity

    def __len__(self) -> int:
        return len(self.builds)

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which of them conduct at all."""
        return np.array([build.closed for build in self.builds]) & (self._wetted > LEAST_WETTED)

    @property
    def soc(self) -> Floats:
        """States of charge; 0 is 2.5 V and 1 is 4.2 V at rest."""
        return np.asarray(self.q / self._numbers.capacity)

    @property
    def capacity(self) -> Floats:
        """C between 2.5 and 4.2 V, as they are now."""
        return self._numbers.capacity.copy()

    @property
    def voltage(self) -> Floats:
        """Voltage without current at this moment, V."""
        cell, modes, soc = self._numbers, self.modes, self.soc
        up, _ = _tabled(_NMC, Y0 - DY * soc - modes[3:6].sum(axis=0))
        un, _ = _tabled(_GRAPHITE, X0 + DX * soc + modes[:3].sum(axis=0))
        zn, zp = _share(cell.salt_n, modes[6], modes[7]), _share(cell.salt_p, modes[6], modes[7])
        return np.asarray(up - un + cell.diffusive * np.log(zp / zn))

    def impedance(self, frequency: float) -> NDArray[np.complex128]:
        """Impedance, Ω, at rest, at a frequency in Hz; the imaginary part of a capacitive cell is negative."""
        return np.array(
            [
                impedance(state.numbers, soc, frequency) if live else _no_cell(build, state, frequency)
                for build, state, soc, live in zip(self.builds, self._states, self.soc, self.live, strict=True)
            ]
        )

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────
    def step(
        self, dt: float, *, current: ArrayLike | None = None, voltage: ArrayLike | None = None
    ) -> tuple[Floats, Floats]:
        """All go on by dt seconds; gives V and A at its end, NaN of what does not conduct.

        Each is under its current (A), or to its voltage (V) where that is given and no NaN; at rest without either.
        """
        count = len(self)
        amps = np.broadcast_to(np.asarray(0.0 if current is None else current, dtype=float), (count,))
        volts = np.broadcast_to(np.asarray(np.nan if voltage is None else voltage, dtype=float), (count,))
        while dt > SUBSTEP:
            self._go(self._ended(np.full(count, SUBSTEP), amps, volts), np.full(count, SUBSTEP))
            dt -= SUBSTEP
        lengths = np.full(count, dt)
        ended = self._ended(lengths, amps, volts)
        self._go(ended, lengths)
        dead = ~self.live
        return np.where(dead, np.nan, ended.voltage), np.where(dead, 0.0, ended.applied)

    def _ended(self, dt: Floats, amps: Floats, volts: Floats) -> _Ended:
        """How a step would end; nothing has happened yet."""
        free = np.isnan(volts)
        guess = np.where(free, amps, self.current)
        charging = guess > 0
        if (unknown := ~free & (guess == 0)).any():
            charging |= unknown & (volts > self.voltage)
        formed = self.sei / (self._film * self._wetted)
        stored = np.where(charging, 1.0 - self._wear - FORMING * np.maximum(0.0, 1.0 - formed), 1.0)
        return _advance(self._numbers, dt, self.q, self.modes, guess, stored, np.where(free, np.nan, volts))

    def _go(self, ended: _Ended, dt: Floats) -> None:
        inner, stored = ended.inner, ended.stored
        self.q = self.q + inner * dt * stored
        self.modes, self.current = ended.modes, ended.applied
        through = np.abs(inner) * dt
        self.passed += through
        films = (stored < 1.0) & (inner > 0)
        self.sei += np.where(films, np.maximum(0.0, through * (1.0 - stored - self._wear)), 0.0)
        self.fading += np.where(films, FADING * self._wear * through / self._nominal, 0.0)
        self.leaking += self._leak * dt
        for index in np.flatnonzero((self.fading > FADED) | (self.leaking > LEAKED)):
            self._refresh(int(index))

    def _refresh(self, index: int) -> None:
        self.fade[index] = min(0.9, self.fade[index] + self.fading[index])
        self.lost[index] += self.leaking[index]
        self.fading[index] = self.leaking[index] = 0.0
        aged = {"fade": float(self.fade[index]), "lost": float(self.lost[index])}
        state: Condition = condition(self.builds[index], aged, self._temperature)
        self.q[index] *= state.numbers.capacity / self._numbers.capacity[index]
        self._states[index] = state
        self._numbers.change(index, state.numbers)
        self._wear[index], self._wetted[index] = state.wear, state.wetted

    # ── cycles ───────────────────────────────────────────────────────────────────────────────────────────────────
    def cycle(
        self, current: ArrayLike, upper: float = 4.2, lower: float = 2.8, *, hold: float = 0.1, dt: float = SUBSTEP
    ) -> Cycled:
        """Charges all at a current, holds them at the upper voltage, and discharges them.

        Each cell ends each of the three where its own limit is, to the part of a step.

        Args:
            current: A.
            upper: V.
            lower: V.
            hold: part of the current that ends the hold; 1 for none.
            dt: s of a step.
        """
        amps = np.broadcast_to(np.asarray(current, dtype=float), (len(self),))
        live = self.live
        charge, _ = self._half(np.where(live, amps, 0.0), upper, dt, live)
        charge = charge + self._hold(upper, amps, hold, dt, live)
        discharge, energy = self._half(np.where(live, -amps, 0.0), lower, dt, live)
        return Cycled(*(np.where(live, each / 3.6, np.nan) for each in (charge, discharge, energy)))

    def _half(self, amps: Floats, until: float, dt: float, live: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """C and J of all at a current until a voltage."""
        sign, none = np.sign(amps), np.full(len(self), np.nan)
        busy, before = live.copy(), self.voltage
        charge, energy, elapsed = np.zeros(len(self)), np.zeros(len(self)), np.zeros(len(self))
        while busy.any():
            lengths, now = np.where(busy, dt, 0.0), np.where(busy, amps, 0.0)
            ended = self._ended(lengths, now, none)
            over = np.where(busy, sign * (ended.voltage - until), -1.0)
            if (crossing := over >= 0).any():
                rise = np.maximum(sign * (ended.voltage - before), 1e-12)
                lengths = np.where(crossing, dt * np.maximum(0.0, np.minimum(1.0, 1.0 - over / rise)), lengths)
                ended = self._ended(lengths, now, none)
            self._go(ended, lengths)
            charge += np.abs(now) * lengths
            energy += np.abs(now) * lengths * 0.5 * (ended.voltage + before)
            before = ended.voltage
            elapsed += lengths
            busy &= ~crossing & (elapsed * np.abs(amps) < LONGEST * CAPACITY)
        return charge, energy

    def _hold(self, volts: float, amps: Floats, part: float, dt: float, live: NDArray[np.bool_]) -> Floats:
        """C that flow at a voltage until each current has fallen to a part of what it was."""
        charge, busy, elapsed = np.zeros(len(self)), live.copy(), np.zeros(len(self))
        while busy.any():
            lengths = np.where(busy, dt, 0.0)
            ended = self._ended(lengths, np.zeros(len(self)), np.where(busy, volts, np.nan))
            self._go(ended, lengths)
            charge += ended.applied * lengths
            elapsed += lengths
            busy &= (np.abs(ended.applied) > part * amps) & (elapsed * amps < LONGEST * CAPACITY)
        return charge


# ── the formulas ─────────────────────────────────────────────────────────────────────────────────────────────────
def _tabled(table: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Potentials, V, and their rise over one step of the table."""
    position = (at - LOW) / STEP
    index = np.minimum(np.maximum(position.astype(np.int64), 0), POINTS - 2)
    low = table[index]
    rise = table[index + 1] - low
    return low + (position - index) * rise, rise


def _share(gains: Floats, e1: Floats, e2: Floats) -> Floats:
    return np.asarray(np.maximum(spme.DRIED, 1.0 + gains[0] * e1 + gains[1] * e2 + gains[2] * e1 * e1))


def _path(z: Floats, root: Floats) -> Floats:
    return np.asarray((_A + _B + _D) / (z * (_A + _B * root + _D * z * z)))


def _advance(
    cell: _Numbers, dt: Floats, q: Floats, modes: Floats, guess: Floats, stored: Floats, voltage: Floats
) -> _Ended:
    """One step of all, as `spme.advance`; a voltage of NaN: under the current that `guess` is."""
    kept = np.exp(-dt / cell.taus)
    added = cell.gains * (1.0 - kept)
    relaxed = modes * kept
    f1, f2 = relaxed[6] + added[6] * guess, relaxed[7] + added[7] * guess
    zn, zs, zp = (_share(gains, f1, f2) for gains in (cell.salt_n, cell.salt_s, cell.salt_p))
    root_n, root_p = np.sqrt(zn), np.sqrt(zp)
    ohms = (
        cell.fixed
        + cell.pores_n * _path(zn, root_n)
        + cell.pores_s * _path(zs, np.sqrt(zs))
        + cell.pores_p * _path(zp, root_p)
    )
    base = cell.diffusive * np.log(zp / zn)
    share = stored * dt
    x0 = X0 + cell.drive_x * q + relaxed[:3].sum(axis=0)
    y0 = Y0 - cell.drive_y * q - relaxed[3:6].sum(axis=0)
    xi = stored * added[:3].sum(axis=0) + share * cell.drive_x
    yi = stored * added[3:6].sum(axis=0) + share * cell.drive_y
    free = np.isnan(voltage)
    inner, volts = guess.copy(), voltage.copy()
    busy = np.ones(len(q), dtype=bool)
    low, high = np.full(len(q), -np.inf), np.full(len(q), np.inf)
    for turn in range(spme.TURNS):
        seen, rise = _terminal(cell, x0 + xi * inner, y0 - yi * inner, (xi, yi), inner, (root_n, root_p), ohms, base)
        if turn == 0:
            bent = np.where(free, -(seen / cell.shunt) / (1.0 + rise / cell.shunt), 0.0)
            inner = inner + bent
            volts = np.where(free, seen + rise * bent, voltage)
            busy = ~free
        off = np.where(busy, voltage - seen, 0.0)
        low, high = np.where(busy & (off > 0), inner, low), np.where(busy & (off <= 0), inner, high)
        inner = inner + off / rise
        if (outside := busy & ((inner < low) | (inner > high))).any():
            inner = np.where(outside, 0.5 * (low + high), inner)
        busy = busy & (np.abs(off) >= spme.PRECISION)
        if not busy.any():
            break
    relaxed[:6] += added[:6] * (stored * inner)
    relaxed[6:] += added[6:] * inner
    return _Ended(volts, np.where(free, guess, inner + voltage / cell.shunt), inner, relaxed, stored)


def _terminal(
    cell: _Numbers, x: Floats, y: Floats, moved: Any, inner: Floats, roots: Any, ohms: Floats, base: Floats
) -> tuple[Floats, Floats]:
    """Voltage at a current, V, and how it rises with it, Ω."""
    un, slope_n = _tabled(_GRAPHITE, x)
    up, slope_p = _tabled(_NMC, y)
    kn = cell.kinetic_n / (roots[0] * np.sqrt(np.maximum(spme.THIN, x * (1.0 - x))))
    kp = cell.kinetic_p / (roots[1] * np.sqrt(np.maximum(spme.THIN, y * (1.0 - y))))
    un_i, up_i = kn * inner, kp * inner
    volts = up - un + base + ohms * inner + cell.thermal * (np.arcsinh(un_i) + np.arcsinh(up_i))
    rise = (
        ohms
        - (slope_p * moved[1] + slope_n * moved[0]) / STEP
        + cell.thermal * (kn / np.sqrt(1.0 + un_i * un_i) + kp / np.sqrt(1.0 + up_i * up_i))
    )
    return volts, rise
