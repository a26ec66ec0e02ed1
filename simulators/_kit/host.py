"""All simulators of a lab: inside the daemon, or as a process of their own (`labd-sim`)."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from labd import clock
from simulators._kit.pty import PtyError
from simulators._kit.registry import find_simulator
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.world import World

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

    Outside virtual time the world is saved once a machine second, so that a process that is killed finds its cells,
    volumes and counters again.
    """

    def __init__(
        self, lab: Mapping[str, Any], base: Path, directory: Path, devices: Collection[str] | None = None
    ) -> None:
        self._lab = lab
        self._base = base
        self._directory = directory
        self.simulators: dict[str, Simulator] = {}
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
        path = self._directory / "world.json"
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
            directory=self._directory,
        )

    async def start(self) -> dict[str, dict[str, Any]]:
        """Starts all; gives for each device the settings that its driver needs to reach it.

        Raises:
            HostError: one cannot be started; those that were are stopped again.
        """
        overrides: dict[str, dict[str, Any]] = {}
        self._started.enter_context(_alone(self._directory))
        # On virtual time the simulators live and die with the daemon: its end is early enough.
        self.world.kept = not clock.is_virtual()
        self._started.callback(self._keep_at_last)
        try:
            for name in self.devices:
                overrides[name] = await self._begin(name)
        except BaseException:
            await self.stop()
            raise
        if not clock.is_virtual():
            self._saver = asyncio.create_task(self._save_often(), name="world saver")
        return overrides

    async def _begin(self, name: str) -> dict[str, Any]:
        kind = str(self._entries[name].get("driver"))
        try:
            found = find_simulator(kind)
        except ModuleNotFoundError as error:
            lacking = f"{name}: the simulator of {kind!r} needs the package {error.name!r}, which is not installed"
            raise HostError(lacking) from error
        if found is None:
            raise HostError(f"{name}: there is no simulator for the driver {kind!r}")
        try:
            simulator = found(self._bench(name))
            self.simulators[name] = simulator
            settings = await simulator.start()
        except OSError as error:
            raise HostError(f"{name}: cannot listen where its settings say: {error.strerror or error}") from error
        except (PtyError, ValueError, KeyError) as error:
            raise HostError(f"{name}: {error}") from error
        self._started.push_async_callback(simulator.stop)
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
    """`labd-sim LAB.yaml [--only dev,…]`: the simulators of a lab as a process of their own, until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="labd-sim", description="Runs a lab's simulators, on its own clock, for a daemon in another process."
    )
    parser.add_argument("lab", type=Path, metavar="LAB.yaml")
    parser.add_argument("--only", metavar="DEVICE,…", help="only these devices")
    options = parser.parse_args(arguments)
    only = None if options.only is None else [name for name in options.only.split(",") if name]
    try:
        _run(options.lab, only)
    except HostError as error:
        sys.stderr.write(f"labd-sim: {error}\n")
        sys.exit(2)


def _run(path: Path, only: Collection[str] | None) -> None:
    lab = read_yaml(path)
    base = path.resolve().parent
    for key in ("store", "devices"):
        if not lab.get(key):
            raise HostError(f"{path}: `{key}` is missing")
    store = (base / str(lab["store"])).resolve()
    kind = lab.get("clock", "real")
    if kind == "virtual":
        raise HostError(
            f"{path}: clock: virtual time cannot be shared between processes; let the daemon start the simulators, "
            "or write `clock: {scaled: 60}`"
        )
    try:
        timeline = clock.timeline_of(kind, store)
    except (ValueError, TypeError) as error:
        raise HostError(f"{path}: {error}") from error
    except OSError as error:
        raise HostError(f"{store}: cannot be written: {error.strerror}") from error
    directory = store / "simulators"
    clock.run(_serve(SimulatorHost(lab, base, directory, only), lab), timeline)


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


async def _serve(host: SimulatorHost, lab: Mapping[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    overrides = await host.start()
    try:
        for name, settings in overrides.items():
            where = ", ".join(f"{key} {value}" for key, value in settings.items())
            sys.stdout.write(f"{name}: {host.simulators[name].__class__.__name__} at {where}\n")
            said = (lab["devices"][name].get("settings")) or {}
            for key, value in settings.items():
                if said.get(key) != value:
                    sys.stdout.write(f"{name}: lab.yaml says {key} {said.get(key)!r}: a daemon needs {value!r} there\n")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await host.stop()


if __name__ == "__main__":
    main()
