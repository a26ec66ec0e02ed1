"""The daemon's REST interface, /api/v1: what the command line, and later pages and other programs, speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from labd import clock
from labd.api.campaigns import campaign_routes
from labd.api.crates import crate_routes
from labd.api.devices import device_routes
from labd.api.errors import UnknownDeviceError, handle_errors
from labd.api.guarding import guard_routes
from labd.api.holding import HoldsClock, released
from labd.api.marks import LONGEST_WAIT, mark
from labd.api.models import (
    AlarmModel,
    AnswerRequest,
    CommandRequest,
    DeviceDetailModel,
    DeviceModel,
    EventModel,
    EventsModel,
    ExportModel,
    ExportRequest,
    InterlockModel,
    RunModel,
    StartRequest,
    StatusModel,
)
from labd.api.outlets import outlet, writing
from labd.api.plan import plan_routes
from labd.api.queue import queue_routes
from labd.api.results import result_routes
from labd.api.samples import sample_routes
from labd.api.stock import stock_routes
from labd.api.urgent import Resume, urgent_routes
from labd.campaign.engine import Campaigns
from labd.journal import Event
from labd.lab.bus import Happening, RunState
from labd.lab.config import LabConfig
from labd.records import Analyst
from labd.records import export as write_files
from labd.run.engine import Engine
from labd.run.lifecycle import Command, CommandRefusedError, State
from labd.version import VERSION

NEEDS_A_PERSON = {State.HELD.value, State.SUSPENDED.value}


async def _not_safe(_: str) -> list[str]:
    raise CommandRefusedError("the lab is not in safe mode: there is nothing to resume")


@dataclass(eq=False, slots=True)
class Services:
    """What the interface needs of the daemon: its engine, what it tells of itself, its campaigns, and more.

    Args:
        resume: its way out of safe mode.
        campaigns: those of the engine's lab; None: their routes are left away.
    """

    engine: Engine
    info: Callable[[], Mapping[str, Any]]
    resume: Resume = _not_safe
    campaigns: Campaigns | None = None
    closing: bool = False
    analyst: Analyst = field(init=False)
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.analyst = Analyst(self.engine.signals)

    def close(self) -> None:
        """Answers all long polls now, and every later one at once."""
        self.closing = True
        for event in self._waiting:
            event.set()

    async def wait(self, run_id: str, seconds: float, seen: str) -> RunState:
        """Waits until a run has ended, asks something, or stands still for a person; or until the time is over.

        Args:
            run_id: the run. Raises UnknownRunError.
            seconds: of the caller's time: under a scaled clock more of the lab's pass.
            seen: what the caller knows already, as `mark` gives it; with that it goes on waiting.
        """
        changed = asyncio.Event()

        def listen(happening: Happening) -> None:
            if isinstance(happening, RunState) and happening.run == run_id:
                changed.set()

        forget = self.engine.lab.bus.subscribe(listen, RunState)
        self._waiting.add(changed)
        try:
            with released():
                async with asyncio.timeout(clock.of_machine(seconds)):
                    while not _worth_telling(state := await self.engine.state(run_id), seen) and not self.closing:
                        await changed.wait()
                        changed.clear()
        except TimeoutError:
            state = await self.engine.state(run_id)
        finally:
            self._waiting.discard(changed)
            forget()
        return state


def _worth_telling(state: RunState, seen: str) -> bool:
    if state.ended is not None:
        return True
    return (state.question is not None or state.state in NEEDS_A_PERSON) and mark(state.state, state.question) != seen


def make_app(services: Services, hosts: Sequence[str] = ()) -> FastAPI:
    """The application.

    Args:
        services: the daemon's parts.
        hosts: the only names by which it may be called; none: any. A page of another site that has its own name
            resolve to this machine would otherwise command the lab from its visitor's browser.
    """
    app = FastAPI(title="labd", version=VERSION, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    handle_errors(app)
    api = APIRouter(prefix="/api/v1")
    _lab_routes(api, services)
    _run_routes(api, services)
    _order_routes(api, services)
    device_routes(api, services.engine)
    guard_routes(api, services.engine.guards)
    sample_routes(api, services.engine)
    crate_routes(api, services.engine, services.analyst, services.campaigns)
    result_routes(api, services.engine, services.analyst)
    queue_routes(api, services.engine.queue)
    plan_routes(api, services.engine.scheduler)
    stock_routes(api, services.engine.lab.inventory, services.engine.journal)
    urgent_routes(api, services.engine, services.resume)
    if services.campaigns is not None:
        campaign_routes(api, services.campaigns)
    app.include_router(api)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(HoldsClock)
    return app


def _contract(lab: LabConfig) -> dict[str, Any]:
    """What is said over MQTT, as an AsyncAPI document. It takes 60 ms with the import: too long for the loop."""
    from labd.telemetry.asyncapi import document

    return document(lab)


def _lab_routes(api: APIRouter, services: Services) -> None:
    devices = services.engine.lab.devices

    @api.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> dict[str, Any]:
        return await asyncio.to_thread(_contract, services.engine.lab.config)

    @api.get("/status")
    async def status() -> StatusModel:
        return StatusModel(
            daemon=dict(services.info()),
            devices=[DeviceModel.of(device) for device in devices.values()],
            runs=[RunModel.of(state) for state in services.engine.unended()],
            ended=services.engine.ended,
            alarms=[AlarmModel.of(alarm) for alarm in services.engine.lab.alarms.active],
            interlocks=[InterlockModel.of(watch) for watch in services.engine.guards.interlocks.watches.values()],
        )

    @api.get("/devices")
    async def list_devices() -> list[DeviceModel]:
        return [DeviceModel.of(device) for device in devices.values()]

    @api.get("/devices/{device_id}")
    async def device(device_id: str) -> DeviceDetailModel:
        if device_id not in devices:
            raise UnknownDeviceError(f"there is no device {device_id!r}; there are: {', '.join(devices)}")
        return DeviceDetailModel.of(devices[device_id])


def _run_routes(api: APIRouter, services: Services) -> None:
    engine = services.engine

    @api.get("/runs")
    async def runs(*, active: bool = False) -> list[RunModel]:
        """All runs, oldest first; with `active` those that have not ended."""
        return [RunModel.of(state) for state in await engine.states() if not active or state.ended is None]

    @api.get("/runs/{run_id}")
    async def run(run_id: str) -> RunModel:
        return RunModel.of(await engine.state(run_id))

    @api.get("/runs/{run_id}/events", response_model=EventsModel)
    async def events(
        run_id: str,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        skip: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """A run's journal, oldest first, `limit` at a time.

        `skip` leaves out so many of the oldest: an event that has `seq` 12 over MQTT comes first with `skip=11`.
        """
        await engine.state(run_id)
        found = await engine.journal.events(run=run_id, after=after, limit=limit, skip=skip)
        # in a thread: ten thousand of them take a third of a second
        content = await asyncio.to_thread(_told, found, found[-1].seq if len(found) == limit else None)
        return Response(content, media_type="application/json")

    @api.get("/runs/{run_id}/wait")
    async def wait(
        run_id: str, seconds: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 30.0, seen: str = ""
    ) -> RunModel:
        """Answers when the run has ended, asks something, or is held; after so many seconds in any case."""
        return RunModel.of(await services.wait(run_id, seconds, seen))


def _told(events: Sequence[Event], after: int | None) -> str:
    return EventsModel(events=[EventModel.of(event) for event in events], after=after).model_dump_json()


def _order_routes(api: APIRouter, services: Services) -> None:
    engine = services.engine

    @api.post("/runs", status_code=201)
    async def start(request: StartRequest) -> RunModel:
        run = await engine.start(
            request.protocol,
            request.name,
            request.parameters,
            sample=request.sample,
            position=request.position,
            called=request.called,
            by=request.by,
        )
        return RunModel.of(await engine.state(run.id))

    @api.post("/runs/{run_id}/commands/{verb}")
    async def command(
        run_id: str, verb: Literal["hold", "unhold", "stop", "abort", "clear"], request: CommandRequest
    ) -> RunModel:
        """Gives a run a command; it is durable when this answers."""
        order = Command(verb)
        return RunModel.of(await engine.command(run_id, order, by=request.by, cause=request.cause, at=request.at))

    @api.post("/runs/{run_id}/answer")
    async def answer(run_id: str, request: AnswerRequest) -> RunModel:
        """Answers a run's question; it is durable when this answers."""
        choice, value, which = request.choice, request.value, request.question
        return RunModel.of(await engine.answer(run_id, choice, value=value, by=request.by, which=which))

    @api.post("/runs/{run_id}/export")
    async def export(run_id: str, request: ExportRequest, caller: Request) -> ExportModel:
        """Writes a run's data as files on the daemon's machine."""
        await engine.state(run_id)
        own = engine.lab.config.directory / "exports" / run_id
        directory = outlet(request.directory, own, caller, key="directory", word="directory")
        with writing(directory):
            if request.to == "plots":
                from labd.records.pictures import gather, save_plots

                (read,) = await gather([run_id], engine.journal, engine.signals, services.analyst)
                files = await asyncio.to_thread(save_plots, read, directory)
            else:
                files = await write_files(run_id, request.to, directory, engine.signals, engine.journal)
        return ExportModel(files=[file.resolve() for file in files])
