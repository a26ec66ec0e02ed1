"""The composition root: starts, supervises and stops all parts of one lab, in one place and in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from labd import button, clock
from labd.api.app import Services
from labd.api.server import serve_api
from labd.campaign.engine import Campaigns
from labd.files import InputErrors
from labd.journal import Ballast, Journal, JournalError, NewEvent, SignalError, SignalStore
from labd.journal.ballast import SPARE
from labd.lab.background import background, together
from labd.lab.bus import Happening
from labd.lab.check import check_lab
from labd.lab.config import LabConfig, LabError
from labd.lab.identities import keep_identities
from labd.lab.lab import Lab
from labd.lab.polls import PollKeeper
from labd.lab.simulated import ports_beside
from labd.logs import configure_logs
from labd.run.disk import DiskWatch
from labd.run.engine import Engine
from labd.run.lifecycle import Command, CommandRefusedError
from labd.run.safe_mode import SafeMode, units_going_on
from labd.run.starts import DEATHS, STARTS, STEADY, died
from labd.run.urgent import make_safe_at_last, order_all
from labd.systemd import notify, watchdog
from labd.version import VERSION

log = structlog.get_logger(__name__)

SWITCH = 0.0005  # s


class Daemon:
    """One lab at work.

    Args:
        config: lab.yaml.
        simulators: whether the simulators that lab.yaml asks for run in this process.
        outward: whether others can talk to it: the API and MQTT.
        faults: what goes wrong with the simulators (`simulators.faults.model.Faults`).
    """

    def __init__(self, config: LabConfig, *, simulators: bool = True, outward: bool = True, faults: Any = None) -> None:
        self.config = config
        self.boot_id = uuid.uuid4().hex[:12]
        self.started = clock.stamp()
        self.state = "starting"
        self._with_simulators = simulators
        self._outward = outward
        self._faults = faults
        self._stop = asyncio.Event()
        self._abort = asyncio.Event()
        self._anew = asyncio.Event()  # safe mode has ended: this start must stand once more
        self._safe_mode: SafeMode | None = None
        self.lab: Lab
        self.engine: Engine
        self.campaigns: Campaigns
        self.disk: DiskWatch
        self.journal: Journal
        self.signals: SignalStore
        self.host: Any = None
        self.telemetry: Any = None

    def request_stop(self) -> None:
        """Asks for an orderly end; returns at once."""
        self._stop.set()

    def request_abort(self) -> None:
        """Asks for all runs to be aborted and all devices to be made safe, as a signal does; returns at once."""
        self._abort.set()

    async def run(self) -> None:
        """Lives until `request_stop`: then lets what acts come to its end, makes devices safe, and closes in order.

        Runs are neither stopped nor forgotten: the next daemon goes on with them.
        """
        async with self.open():
            # What is there now stays: to look through it for garbage would stop everything for 0.2 s each time, also
            # the first time. A twentieth of it is garbage of the start, and is kept.
            gc.freeze()
            gc.enable()  # whoever starts a daemon alone in its process may have disabled it until now
            # A thread that reads a protocol gives the interpreter back after this at the latest, at each of the
            # loop's many system calls: with Python's own 5 ms a busy loop would crawl beside it.
            sys.setswitchinterval(SWITCH)
            await self._stop.wait()
            log.info("stopping", lab=self.config.lab)
            self.state = "stopping"
            notify("STOPPING=1")

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Daemon]:
        """The lab at work, for as long as the block lasts; then its end in order."""
        config = self.config
        config.directory.mkdir(parents=True, exist_ok=True)
        async with contextlib.AsyncExitStack() as stack:
            # A lab that nobody looks at (a dry run) is gone with its disk: nothing is kept for it.
            ballast = Ballast(config.directory / "journal.ballast") if self._outward else None
            self.journal = await Journal.open(config.directory / "journal.sqlite", ballast)
            stack.push_async_callback(self.journal.close)
            self.signals = await SignalStore.open(config.directory / "signals.sqlite", SPARE if ballast else 0)
            stack.push_async_callback(self.signals.close)
            overrides = await self._start_simulators(stack)
            self.lab = Lab(config, overrides)
            for problem in self.lab.warnings:
                log.warning(problem.message, code=problem.code, where=problem.where, mend=problem.mend)
            dead = died(await self.journal.events(kinds=STARTS))
            if len(dead) >= DEATHS:
                self._safe_mode = SafeMode(self.lab, self.journal, dead)
            self.engine = Engine(self.lab, self.journal, self.signals, resume=self._safe_mode is None)
            self.campaigns = Campaigns(self.engine)
            self.disk = DiskWatch(self.engine, config.disk.hold_below)
            keeper = PollKeeper(self.signals, self.boot_id, lambda: self.disk.full)
            for device in self.lab.devices.values():
                device.on_signals = keeper.keep
            await self._start_telemetry(stack)
            begun = {"boot_id": self.boot_id, "version": VERSION, "lab": config.lab}
            await self.journal.append(NewEvent("daemon.started", begun))
            stack.callback(keep_identities(self.lab, self.journal))
            stack.push_async_exit(self._journal_end)
            if self._safe_mode is not None:
                self._safe_mode.begin()
            devices = {device.id: device.run() for device in self.lab.devices.values()}
            await stack.enter_async_context(background(together(devices), "devices"))
            stack.push_async_callback(self._make_safe_at_last)
            if self._outward:
                self.disk.look()  # before anything goes on
            await stack.enter_async_context(background(self._obey_signal(), "signal"))  # before anything goes on
            await self._start_engine(stack)
            if self._safe_mode is not None:
                await stack.enter_async_context(background(self._safe_mode.run(), "safe mode"))
            if self._outward:
                await stack.enter_async_context(background(self.disk.run(), "disk"))
                services = Services(self.engine, self.info, self.resume, self.campaigns)
                await stack.enter_async_context(background(services.analyst.run(), "analysis"))
                await stack.enter_async_context(serve_api(services, config.socket, config.api.listen))
            stack.push_async_callback(self._leave_runs)
            await stack.enter_async_context(background(watchdog(), "watchdog"))
            await stack.enter_async_context(background(self._tell_steady(), "steady"))
            self.state = "online" if self._safe_mode is None else "safe mode"
            log.info("online", lab=config.lab, socket=str(config.socket), boot_id=self.boot_id)
            notify("READY=1")
            yield self
            self.state = "stopping"

    async def _start_simulators(self, stack: contextlib.AsyncExitStack) -> dict[str, dict[str, Any]]:
        simulated = [name for name, device in self.config.devices.items() if device.simulator is not None]
        if not self._with_simulators:
            return dict(ports_beside(self.config))
        if not simulated:
            return {}
        from simulators._kit.hands import Hands
        from simulators._kit.host import HostError, SimulatorHost

        raw = self.config.model_dump(mode="json", exclude={"base"})
        self.host = SimulatorHost(raw, self.config.base, self.config.directory / "simulators", None, self._faults)
        try:
            overrides: dict[str, dict[str, Any]] = await self.host.start()
        except HostError as error:
            raise LabError(str(error)) from error
        stack.push_async_callback(self.host.stop)
        if self._outward:
            from simulators.faults.control import SOCKET, Control

            control = Control(self.host, self.config.directory / "simulators" / SOCKET)
            await control.start()
            stack.push_async_callback(control.stop)
        # What people say that they have loaded or taken out is so for the simulators as well.
        stack.callback(self.journal.on_commit(Hands(self.host.world).do))
        return overrides

    async def _start_engine(self, stack: contextlib.AsyncExitStack) -> None:
        """What was begun goes on: runs first, then the campaigns that they are made for."""
        await stack.enter_async_context(background(self.engine.run(), "engine"))
        await stack.enter_async_context(background(self.journal.watch(), "journal"))
        await self.engine.ready.wait()
        await stack.enter_async_context(background(self.campaigns.run(), "campaigns"))
        await self.campaigns.ready.wait()

    async def _start_telemetry(self, stack: contextlib.AsyncExitStack) -> None:
        mqtt = self.config.telemetry
        if mqtt is None or not self._outward:
            return
        from labd.telemetry.service import Telemetry

        boot = self.boot_id, VERSION
        self.telemetry = Telemetry(
            self.config.lab,
            mqtt,
            self.lab.bus,
            self.journal,
            *boot,
            snapshot=self._snapshot,
            engine=self.engine,
            safe_mode=lambda: self.safe_mode,
            users=self.config.users,
            alarms=self.lab.alarms,
            asks=self.campaigns,
        )
        await stack.enter_async_context(background(self.telemetry.run(), "telemetry"))

    def _snapshot(self) -> Iterable[Happening]:
        """What holds now: told anew at every connection to the broker."""
        for device in self.lab.devices.values():
            yield device.describe()
            yield device.state()
        if self.engine.ready.is_set():  # before that it would say that there is none
            yield from self.engine.known()
            yield self.engine.queue.told()
            yield from self.campaigns.told()
        yield from self.lab.alarms.active

    # ── while it lives ───────────────────────────────────────────────────────────────────────────────────────────
    async def _obey_signal(self) -> None:
        """Aborts everything whenever it is asked to; one that waits for a silent device keeps no other from it."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._abort.wait()
                self._abort.clear()
                group.create_task(order_all(self.engine, Command.ABORT, by="signal", cause="SIGUSR1"))

    async def _tell_steady(self) -> None:
        """Journals that this start stands, a minute after it is online, and again a minute after safe mode's end."""
        while True:
            self._anew.clear()
            try:
                async with asyncio.timeout(clock.of_machine(STEADY)):
                    await self._anew.wait()
            except TimeoutError:
                await self.journal.append(NewEvent("daemon.steady", {"boot_id": self.boot_id}))
                await self._anew.wait()

    @property
    def safe_mode(self) -> str | None:
        """Why nothing runs, or None."""
        return self._safe_mode.why if self._safe_mode is not None else None

    async def resume(self, by: str) -> list[str]:
        """Ends safe mode; gives the runs that are taken up.

        Raises:
            CommandRefusedError: the lab is not in safe mode.
        """
        safe_mode, self._safe_mode = self._safe_mode, None
        if safe_mode is None:
            raise CommandRefusedError("the lab is not in safe mode: there is nothing to resume")
        log.warning("safe mode ends", by=by)
        # before anything is taken up: should that be what kills it, the next start is to know
        await self.journal.append(NewEvent("daemon.resumed", {"boot_id": self.boot_id, "by": by}))
        self._anew.set()
        safe_mode.end()
        if self.state == "safe mode":  # and not at its end
            self.state = "online"
        if self.telemetry is not None:
            self.telemetry.tell_status()
        return await self.engine.resume()

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def _make_safe_at_last(self) -> None:
        """After a failure of the daemon itself: what says that it stops with it, is stopped."""
        await make_safe_at_last(self.lab, await units_going_on(self.journal))

    async def _leave_runs(self) -> None:
        """Runs stay as they are, for the next daemon; what may not go on without this one is made safe."""
        await self.engine.leave_all()
        for run in self.engine.known():
            if run.ended is None:
                log.info("run is left for the next start", run=run.run, state=run.protocol_state)

    async def _journal_end(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is None:
            await self.journal.append(NewEvent("daemon.stopped", {"boot_id": self.boot_id}))
        elif self.journal.broken is None:
            await self.journal.append(NewEvent("daemon.failed", {"boot_id": self.boot_id, "error": repr(error)}))

    @property
    def broker(self) -> str | None:
        """Where the broker is, `host:port`, once there is one."""
        address = self.telemetry.address if self.telemetry else None
        return f"{address[0]}:{address[1]}" if address else None

    def info(self) -> dict[str, Any]:
        """What `labd status` tells of the daemon itself."""
        return {
            "lab": self.config.lab,
            "state": self.state,
            "safe_mode": self.safe_mode,
            "version": VERSION,
            "boot_id": self.boot_id,
            "started": self.started,
            "at": clock.stamp(),
            "clock": self.config.clock_kind,
            "pid": os.getpid(),
            "mqtt": self.telemetry.info() if self.telemetry else None,
        }


def load_served(path: Path) -> LabConfig:
    """Reads and checks the lab.yaml of a daemon that others talk to.

    Raises:
        InputErrors: it does not hold, or its clock is one that nobody outside can follow.
    """
    checked = check_lab(path)
    if checked.lab is None:
        raise InputErrors(checked.problems)
    config = checked.lab.config
    if config.clock == "virtual":
        # commands, MQTT clients and people live in another time
        findings = config.findings()
        message = "virtual time is for demo and tests"
        findings.tell("L207", message, ("clock",), "write `clock: real`, or `clock: {scaled: 60}`")
        findings.settle()
    return config


def serve(lab_path: Path, *, simulators: bool = True, log_format: str | None = None, faults: Path | None = None) -> int:
    """Runs the daemon until SIGTERM or SIGINT. Gives the exit status: 0, 1 failed, 2 bad input."""
    configure_logs(log_format)
    button.listen()

    async def main(config: LabConfig) -> None:
        daemon = Daemon(config, simulators=simulators, faults=wrong)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.request_stop)
        loop.add_signal_handler(signal.SIGUSR1, daemon.request_abort)
        if button.pressed():
            daemon.request_abort()
        await daemon.run()

    reading = lab_path
    try:
        config = load_served(lab_path)
        wrong = None
        if faults is not None:
            from labd.faults import load_faults

            reading = faults
            wrong = load_faults(faults, config, simulated=True)
            reading = lab_path
        clock.run(main(config), clock.timeline_of(config.clock_kind, config.directory))
    except (InputErrors, LabError, JournalError, SignalError) as error:
        told: BaseException = error
    except BaseExceptionGroup as group:
        from labd.telemetry.broker import BrokerError

        found = first_of(group, (InputErrors, LabError, JournalError, SignalError, BrokerError))
        if found is None:
            raise
        told = found
    else:
        return 0
    said = f"{reading} does not hold\n{told}" if isinstance(told, InputErrors) else str(told)
    print(f"labd: {said}", file=sys.stderr)  # noqa: T201 - the log may go elsewhere; this is for whoever started it
    return 1 if isinstance(told, (JournalError, SignalError)) else 2


def first_of(group: BaseExceptionGroup[BaseException], kinds: tuple[type[Exception], ...]) -> Exception | None:
    """The error that a group is about, when all that is in it is of these kinds."""
    matching, rest = group.split(kinds)
    error: BaseException | None = matching if rest is None else None
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else None
