"""All simulators of a lab: inside the daemon, or as a process of their own (`labd-sim`)."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import fcntl
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from labd import clock
from simulators._kit.machine import Machine
from simulators._kit.pty import PtyError
from simulators._kit.registry import find_simulator
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import World
from simulators.faults.check import Kind, specs
from simulators.faults.model import Faults
from simulators.faults.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator


class HostError(Exception):
    """The simulators cannot be started; the text says which, why, and how to mend it."""


class SimulatorHost:
    """The simulators of one lab, around one world.

    Args:
        lab: lab.yaml as parsed, unchecked.
        base: the folder that the file's relative paths are under.
        directory: where the world is kept (`world.json`) and pty links with relative paths are put.
        devices: only these; default: all that have a `simulator`.
        faults: what goes wrong, checked by `kinds_of` and `simulators.faults.check`; more can be added live, to `plan`.

    Outside virtual time the world is saved once a machine second, so that a process that is killed finds its cells,
    volumes and counters again.
    """

    def __init__(
        self,
        lab: Mapping[str, Any],
        base: Path,
        directory: Path,
        devices: Collection[str] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._lab = lab
        self._base = base
        self.directory = directory
        self.machines: dict[str, Machine] = {}
        self.plan: Plan
        self._faults = faults
        entries: Mapping[str, Mapping[str, Any]] = lab.get("devices") or {}
        simulated = [name for name, entry in entries.items() if entry.get("simulator") is not None]
        if devices is not None and (unknown := sorted(set(devices) - set(simulated))):
            raise HostError(
                f"{', '.join(unknown)}: no such simulated device; "
                f"with a `simulator:` in lab.yaml are: {', '.join(simulated) or 'none'}"
            )
        self.devices = [name for name in simulated if devices is None or name in devices]
        self._entries = entries
        self.world = self._make_world()
        self._saver: asyncio.Task[None] | None = None
        self._started = AsyncExitStack()

    def _make_world(self) -> World:
        options = [self._entries[name]["simulator"] for name in self.devices]
        seed = self._lab.get("seed", next((option["seed"] for option in options if "seed" in option), 1))
        path = self.directory / "world.json"
        if not isinstance(seed, int):
            raise HostError(f"seed: {seed!r} is no whole number")
        try:
            world = World(seed, path)
        except ValueError as error:
            raise HostError(f"{path}: is no world of this version; remove it to begin anew ({error})") from error
        try:
            world.furnish(self._lab.get("deck") or ())
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise HostError(f"deck: cannot be laid out: {error!r}") from error
        return world

    @property
    def simulators(self) -> dict[str, Simulator]:
        """By device; one that was power-cycled is another than before."""
        return {name: machine.simulator for name, machine in self.machines.items()}

    @property
    def kinds(self) -> dict[str, Kind]:
        """What can go wrong with each."""
        return {name: kind_of(type(machine.simulator)) for name, machine in self.machines.items()}

    def _bench(self, name: str) -> Bench:
        entry = self._entries[name]
        positions: Mapping[str, Mapping[str, Any]] = {}
        if entry.get("positions"):
            positions = read_yaml(self._base / entry["positions"])
        deck = tuple(item for item in self._lab.get("deck") or () if str(item.get("place", "")).startswith(f"{name}/"))
        return Bench(
            name=name,
            world=self.world,
            settings=dict(entry.get("settings") or {}),
            options=dict(entry["simulator"]),
            positions=positions,
            deck=deck,
            directory=self.directory,
        )

    async def start(self) -> dict[str, dict[str, Any]]:
        """Starts all; gives for each device the settings that its driver needs to reach it.

        Raises:
            HostError: one cannot be started; those that were are stopped again.
        """
        overrides: dict[str, dict[str, Any]] = {}
        self._started.enter_context(_alone(self.directory))
        # On virtual time the simulators live and die with the daemon: its end is early enough.
        self.world.kept = not clock.is_virtual()
        self._started.callback(self._keep_at_last)
        self.plan = Plan(self.machines, _seed_of(self._faults, self.world.seed))
        try:
            for name in self.devices:
                overrides[name] = await self._begin(name)
        except BaseException:
            await self.stop()
            raise
        for fault in self._faults.faults if self._faults is not None else ():
            for spec in specs(fault, self.kinds):
                self.plan.add(spec)
        self._started.callback(self.plan.end)
        if not clock.is_virtual():
            self._saver = asyncio.create_task(self._save_often(), name="world saver")
        return overrides

    async def _begin(self, name: str) -> dict[str, Any]:
        module = simulator_class(str(self._entries[name].get("driver")), name)
        bench = self._bench(name)

        def make(settings: Mapping[str, Any]) -> Simulator:
            return module(dataclasses.replace(bench, settings=settings))

        def switched_on(device: str, simulator: Simulator) -> None:
            self.plan.powered(device, simulator)

        try:
            machine = Machine(name, make, bench.settings, switched_on)
            self.machines[name] = machine
            settings = await machine.start()
        except OSError as error:
            raise HostError(f"{name}: {_not_there(error, bench.settings)}") from error
        except (PtyError, ValueError, KeyError) as error:
            raise HostError(f"{name}: {error}") from error
        self._started.push_async_callback(machine.stop)
        return settings

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(clock.factor())
            self.world.save()

    def _keep_at_last(self) -> None:
        self.world.kept = True
        self.world.save()

    async def stop(self) -> None:
        """Stops all, the last first, and saves the world."""
        if self._saver is not None:
            self._saver.cancel()
            await asyncio.gather(self._saver, return_exceptions=True)
            self._saver = None
        await self._started.aclose()


def simulator_class(kind: str, device: str) -> type[Simulator]:
    """The simulator of a driver. Raises HostError, which names the device."""
    try:
        found = find_simulator(kind)
    except ModuleNotFoundError as error:
        lacking = f"{device}: the simulator of {kind!r} needs the package {error.name!r}, which is not installed"
        raise HostError(lacking) from error
    if found is None:
        raise HostError(f"{device}: there is no simulator for the driver {kind!r}")
    return found


def kind_of(simulator: type[Simulator]) -> Kind:
    """What can go wrong with a kind of device."""
    return Kind(simulator.FAULTS, tuple(simulator.COUNTERS))


def kinds_of(drivers: Mapping[str, str]) -> dict[str, Kind]:
    """What can go wrong with devices, by their drivers' names. Raises HostError."""
    return {name: kind_of(simulator_class(driver, name)) for name, driver in drivers.items()}


def _seed_of(faults: Faults | None, otherwise: int) -> int:
    return otherwise if faults is None or faults.seed is None else faults.seed


def _not_there(error: OSError, settings: Mapping[str, Any]) -> str:
    """Why nothing can listen where the settings say, and the mend."""
    where = str(settings.get("address") or settings.get("port") or "its usual port")
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program; stop that (`ss -ltnp` tells which it is), or write another port"
    if error.errno == errno.EACCES:
        return f"{where} cannot be listened at: ports below 1024 are root's; write a higher one, such as 1502 for 502"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where} is no address of this machine; write 127.0.0.1 for a simulated device"
    return f"cannot listen where its settings say ({where}): {error.strerror or error}"


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises HostError, with line and column."""
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HostError(f"{path}: is not UTF-8 text") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise HostError(f"{path}:{mark.line + 1}:{mark.column + 1}: {error.problem}" if mark else str(error)) from error
    if not isinstance(data, dict):
        raise HostError(f"{path}:1:1: is not a mapping of names to values")
    return data


def main(arguments: Sequence[str] | None = None) -> None:
    """`labd-sim`: see `simulators._kit.process`."""
    from simulators._kit.process import main as run

    run(arguments)


@contextmanager
def _alone(directory: Path) -> Iterator[IO[str]]:
    """One process a world."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise HostError(f"{directory}: cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HostError(f"{directory}: another process runs the simulators of this lab; stop it first") from error
        yield lock


if __name__ == "__main__":
    main()
