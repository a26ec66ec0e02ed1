"""When faults begin and end: each armed one waits for its time, its count or its chance, on one device."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from simulators.faults.check import Spec
from simulators.faults.wire import Mischief, Watcher, Way, Wire, pattern

KEPT = 1000  # what has happened, told at most
State = Literal["waiting", "on", "over"]


class Machine(Protocol):
    """What a plan acts on: a simulated device and its power."""

    @property
    def wire(self) -> Wire: ...

    @property
    def simulator(self) -> Any: ...

    @property
    def powered(self) -> bool: ...

    def count(self, counter: str) -> int: ...

    def power_cycle(self, off: float) -> None: ...


class Armed(Watcher):
    """One fault of one device.

    Args:
        number: by which it is known.
        spec: what it is.
        machine: the device.
        rng: its own chances.
        tell: is told what happens: `begins`, `hits`, `ends`.
    """

    def __init__(
        self, number: int, spec: Spec, machine: Machine, rng: random.Random, tell: Callable[[Armed, str], None]
    ) -> None:
        self.number = number
        self.spec = spec
        self.state: State = "waiting"
        self.happened = 0
        self._machine = machine
        self._rng = rng
        self._tell = tell
        self._seen = 0
        self._base = 0
        self._counting = spec.after is not None
        self._pattern = pattern(spec.after.matching) if spec.after is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._mischief: Mischief | None = None

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────
    def arm(self, now: float) -> None:
        """Begins to wait; `now` is how long its plan has been going, s."""
        due = (self.spec.at or 0.0) - now
        if due > 0:
            self._timer = asyncio.get_running_loop().call_later(due, self._open)
        else:
            self._open()

    def _open(self) -> None:
        after = self.spec.after
        if after is not None:
            self._base = self._count(after.of)
        if self._counting or self._by_chance:
            self._machine.wire.watchers.append(self)
        else:
            self._begin()

    @property
    def _by_chance(self) -> bool:
        """Whether its beginning is a chance; a fault of messages draws for each of them instead."""
        return self.spec.chance is not None and self.spec.layer != "message"

    def _count(self, of: str) -> int:
        return 0 if of in ("requests", "replies", "connections") else self._machine.count(of)

    def saw(self, way: Way, data: bytes) -> None:
        if self._counting:
            after = self.spec.after
            assert after is not None
            if after.of in ("requests", "replies"):
                if way != after.of:
                    return
                if self._seen < after.count:
                    self._seen += self._pattern is None or self._pattern.search(data) is not None
                    return
            elif after.of == "connections" or self._count(after.of) - self._base < after.count:
                return
            self._counting = False
        if self._by_chance and (way != "requests" or self._rng.random() >= (self.spec.chance or 0.0)):
            return
        self._machine.wire.watchers.remove(self)
        self._begin()

    def connected(self) -> None:
        after = self.spec.after
        if not self._counting or after is None or after.of != "connections":
            return
        self._seen += 1
        if self._seen >= after.count:
            self._counting = False
            if not self._by_chance:
                self._machine.wire.watchers.remove(self)
                self._begin()

    # ── on ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def _begin(self) -> None:
        spec, wire = self.spec, self._machine.wire
        self.state = "on"
        lasts = spec.lasts
        if spec.layer == "message":
            self._mischief = Mischief(spec.word, spec.given, self._rng, spec.chance, self._hit)
            wire.mischief.append(self._mischief)
        else:
            self.happened += 1
        self._tell(self, "begins")
        if spec.layer == "line":
            self._on_lines(1 if lasts is not None else 0)
            lasts = lasts or 0.0
        elif spec.layer == "power":
            self._machine.power_cycle(float(spec.given["off"]))
            lasts = float(spec.given["off"])
        elif spec.knob is not None and (self._machine.powered or not spec.knob.anew):
            spec.knob.begin(self._machine.simulator, spec.given, spec.times)
            if self._machine.powered:
                self._machine.simulator.step(0.0)
        if lasts == 0:
            self._end()
        elif lasts is not None:
            self._timer = asyncio.get_running_loop().call_later(lasts, self._end)

    def _on_lines(self, lasting: int) -> None:
        wire = self._machine.wire
        if self.spec.word == "cut":
            wire.is_cut += lasting
            wire.cut()
        else:
            wire.is_dead += lasting
            wire.kept = float(self.spec.given["kept"])
            wire.deaden()

    def again(self, simulator: Any) -> None:
        """The device has power again: what a person holds down is still held down."""
        if self.state == "on" and self.spec.knob is not None and self.spec.knob.anew:
            self.spec.knob.begin(simulator, self.spec.given, self.spec.times)

    def _hit(self) -> None:
        self.happened += 1
        self._tell(self, "hits")
        if self.spec.times is not None and self.happened >= self.spec.times:
            self._end()

    @property
    def spent(self) -> bool:
        """Whether it has happened as often as it was to, as its device counts it."""
        knob = self.spec.knob
        return self.state == "over" or (self.state == "on" and knob is not None and knob.spent(self._machine.simulator))

    # ── over ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _end(self) -> None:
        self._undo()
        self.state = "over"
        self._tell(self, "ends")
        if self._by_chance and (self.spec.times is None or self.happened < self.spec.times):
            self.state = "waiting"
            self._machine.wire.watchers.append(self)

    def clear(self) -> None:
        """Ends it for good, whatever it waits for."""
        if self.state == "on":
            self._undo()
            self._tell(self, "ends")
        if self in self._machine.wire.watchers:
            self._machine.wire.watchers.remove(self)
        self._stop_timer()
        self.state = "over"

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _undo(self) -> None:
        self._stop_timer()
        spec, wire = self.spec, self._machine.wire
        if self._mischief is not None:
            wire.mischief.remove(self._mischief)
            self._mischief = None
        elif spec.layer == "line" and spec.lasts is not None:
            if spec.word == "cut":
                wire.is_cut -= 1
            else:
                wire.is_dead -= 1
            wire.mend()
        elif spec.knob is not None:
            spec.knob.end(self._machine.simulator)
            if self._machine.powered:
                self._machine.simulator.step(0.0)

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        spec = self.spec
        said: Mapping[str, Any] = {
            "with": {key: value for key, value in spec.given.items() if value is not None and key != "amount"},
            "units": spec.units,
            "at": spec.at,
            "after": spec.after.model_dump(exclude_none=True) if spec.after is not None else None,
            "chance": spec.chance,
            "for": spec.lasts,
            "times": spec.times,
        }
        shown = {key: value for key, value in said.items() if value not in (None, {})}
        state = "over" if self.spent else self.state
        return {"id": self.number, "fault": spec.word, "state": state, "happened": self.happened, **shown}


class Plan:
    """All faults of a lab's simulated devices.

    Args:
        machines: by device.
        seed: of all chances.
    """

    def __init__(self, machines: Mapping[str, Machine], seed: int) -> None:
        self._machines = machines
        self._seed = seed
        self._began = asyncio.get_running_loop().time()
        self._number = 0
        self.armed: defaultdict[str, list[Armed]] = defaultdict(list)
        self.story: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.counts: dict[str, int] = {}

    @property
    def now(self) -> float:
        """How long it has been going, lab s."""
        return asyncio.get_running_loop().time() - self._began

    def add(self, spec: Spec, *, live: bool = False) -> Armed:
        """Arms a fault; what is added live counts its `at` from now."""
        self._number += 1
        device, number = spec.device, self._number
        rng = random.Random(f"{self._seed}/{device}/fault/{number}")
        armed = Armed(number, spec, self._machines[device], rng, self._happened)
        self.armed[device].append(armed)
        armed.arm(0.0 if live else self.now)
        return armed

    def clear(self, device: str, which: str | None = None) -> int:
        """Ends faults of a device: all, or those of one word or number. Gives how many."""
        found = [one for one in self.armed[device] if which in (None, one.spec.word, str(one.number))]
        for one in found:
            one.clear()
            self.armed[device].remove(one)
        return len(found)

    def end(self) -> None:
        """Ends all."""
        for device in list(self.armed):
            self.clear(device)

    def powered(self, device: str, simulator: Any) -> None:
        """A device has been switched on again."""
        for one in self.armed[device]:
            one.again(simulator)

    def _happened(self, armed: Armed, what: str) -> None:
        name = f"{armed.spec.device}.{armed.spec.word}"
        message = armed.spec.layer == "message"
        if what == ("hits" if message else "begins"):
            self.counts[name] = self.counts.get(name, 0) + 1
        told = {"at": round(self.now, 3), "device": armed.spec.device, "fault": armed.spec.word, "id": armed.number}
        self.story.append({**told, "what": what})
