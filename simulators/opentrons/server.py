"""The robot server's HTTP interface: routes, header rules, and the shapes of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from simulators._kit.agenda import Agenda
from simulators._kit.http import NoReply, Reply, Request, Router, WrongMethod
from simulators.opentrons import labware as lw
from simulators.opentrons.errors import (
    Refusal,
    already_active,
    invalid,
    run_not_found,
    run_not_idle,
    run_stopped,
)
from simulators.opentrons.hardware import Robot
from simulators.opentrons.machine import Machine
from simulators.opentrons.runs import Run
from simulators.opentrons.wire import body, command, data, milliseconds, number, version_refused

KEPT_RUNS = 20  # the real server forgets the oldest ones, too
_LISTED = 20


class RobotServer:
    """Answers requests for one robot.

    Args:
        name: the robot's.
        robot: its body.
        faults: the switches; see `simulators.opentrons.OpentronsSimulator`.
        agenda: what is due, and its time.
        iso, epoch: the agenda's time as time stamps and as lab seconds since the epoch.
        wake: is called after something was put on the agenda.
        door_blocks: whether an open door keeps runs from playing.
    """

    def __init__(
        self,
        name: str,
        robot: Robot,
        faults: MutableMapping[str, Any],
        agenda: Agenda,
        iso: Callable[[float], str],
        epoch: Callable[[float], float],
        wake: Callable[[], None],
        *,
        door_blocks: bool,
    ) -> None:
        self._name = name
        self._robot = robot
        self._faults = faults
        self._agenda = agenda
        self._iso = iso
        self._epoch = epoch
        self._wake = wake
        self._door_blocks = door_blocks
        self._run: Run | None = None
        self._maintenance: Run | None = None
        self._past: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        self._booted = agenda.now
        self._recall()
        self._router = self._routes()

    def _routes(self) -> Router:
        router = Router()
        add = router.add
        machine = Machine(self._name, self._robot, self._faults, door_blocks=self._door_blocks)
        add("GET", "/health", machine.health)
        add("GET", "/instruments", machine.instruments)
        add("GET", "/modules", machine.modules)
        add("GET", "/pipettes", machine.pipettes)
        add("GET", "/robot/door/status", machine.door)
        add("GET", "/robot/lights", machine.lights)
        add("POST", "/robot/lights", machine.set_lights)
        add("GET", "/robot/control/estopStatus", machine.estop)
        add("GET", "/deck_configuration", machine.deck_configuration)
        add("GET", "/runs", self._runs)
        add("POST", "/runs", self._create_run)
        add("GET", "/runs/{run_id}", self._one_run)
        add("PATCH", "/runs/{run_id}", self._patch_run)
        add("DELETE", "/runs/{run_id}", self._delete_run)
        add("POST", "/runs/{run_id}/actions", self._act)
        add("POST", "/maintenance_runs", self._create_maintenance)
        add("GET", "/maintenance_runs/current_run", self._current_maintenance)
        add("GET", "/maintenance_runs/{run_id}", self._one_run)
        add("DELETE", "/maintenance_runs/{run_id}", self._delete_run)
        for kind in ("runs", "maintenance_runs"):
            add("POST", f"/{kind}/{{run_id}}/commands", self._add_command)
            add("GET", f"/{kind}/{{run_id}}/commands", self._commands)
            add("GET", f"/{kind}/{{run_id}}/commands/{{command_id}}", self._one_command)
            add("POST", f"/{kind}/{{run_id}}/labware_definitions", self._add_definition)
        return router

    # ── every request ────────────────────────────────────────────────────────────────────────────────────────────
    async def handle(self, request: Request) -> Reply:
        """Answers, through the faults. Raises NoReply when the answer is lost."""
        if self._strikes("hang", request):
            await asyncio.Event().wait()  # until the client or the robot gives up
        self._wake()
        reply = await self._answer(request)
        self._wake()
        if self._strikes("reply_lost", request):
            raise NoReply
        return reply

    async def _answer(self, request: Request) -> Reply:
        refused = version_refused(request)
        if refused is not None:
            return refused
        if self._agenda.now - self._booted < float(self._faults.get("boot") or 0.0):
            detail = "The device's hardware has not finished initializing."
            return Refusal(503, "HardwareNotYetInitialized", "Hardware Not Yet Initialized", detail).reply
        try:
            found = self._router.find(request)
            if found is None:
                return Refusal(404, "BadRequest", "Bad Request", "Not Found").reply
            route: Callable[..., Awaitable[Reply]] = found[0]
            return await route(request, **found[1])
        except Refusal as refusal:
            return refusal.reply
        except WrongMethod:
            return Refusal(405, "BadRequest", "Bad Request", "Method Not Allowed").reply

    def _strikes(self, fault: str, request: Request) -> bool:
        """A fault that is a count of requests, or {commandType, count}: only requests that give such a command."""
        setting = self._faults.get(fault)
        if not setting:
            return False
        if not isinstance(setting, MutableMapping):
            self._faults[fault] = int(setting) - 1
            return True
        given = request.method == "POST" and f'"{setting["commandType"]}"'.encode() in request.body
        if not given or setting.get("count", 1) <= 0:
            return False
        setting["count"] = int(setting.get("count", 1)) - 1
        return True

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _runs(self, _request: Request) -> Reply:
        listed = [told for told, _ in self._past.values()]
        links = {}
        if self._run is not None:
            listed.append(self._run.told())
            links["current"] = {"href": f"/runs/{self._run.id}"}
        return Reply(200, {"data": listed, "links": links, "meta": {"cursor": 0, "totalLength": len(listed)}})

    async def _create_run(self, request: Request) -> Reply:
        body(request)
        if self._run is not None and not self._run.may_go:
            raise already_active()
        self._put_away()
        self._run = self._new_run()
        self._robot.memory["current_run"] = self._run.told()
        self._robot.save()
        return Reply(201, {"data": self._run.told()})

    def _new_run(self, *, maintenance: bool = False) -> Run:
        return Run(
            self._robot,
            self._faults,
            self._agenda,
            self._iso,
            self._epoch,
            door_blocks=self._door_blocks,
            maintenance=maintenance,
        )

    def _put_away(self) -> None:
        """The current run, if there is one, becomes one of the past."""
        run, self._run = self._run, None
        if run is None:
            return
        if not run.ended:
            run.stop(self._agenda.now)
        run.current = False
        # Definitions are large, and nobody asks for them again.
        told = [{**one.told(), "result": _without_definition(one.result)} for one in run.commands]
        self._past[run.id] = (run.told(), [{k: v for k, v in one.items() if v is not None} for one in told])
        while len(self._past) > KEPT_RUNS:
            del self._past[next(iter(self._past))]
        self._robot.memory.pop("current_run", None)
        self._remember()

    def _remember(self) -> None:
        self._robot.memory["past_runs"] = [[told, commands] for told, commands in self._past.values()]
        self._robot.save()

    def _recall(self) -> None:
        """After power-up: a run that was current then has lost its commands, and says so."""
        memory = self._robot.memory
        for told, commands in memory.get("past_runs", []):
            self._past[told["id"]] = (told, commands)
        lost = memory.pop("current_run", None)
        if lost is not None:
            detail = "There was no engine state data for this run."
            error = {"id": "RunDataError", "title": "Run Data Error", "detail": detail, "errorCode": "4008"}
            self._past[lost["id"]] = (
                {**lost, "ok": False, "dataError": error, "status": "stopped", "current": False},
                [],
            )
            self._remember()

    def _find(self, request: Request, run_id: str) -> Run | None:
        """The live run with that id, None when it is one of the past. Raises Refusal 404."""
        live = self._maintenance if request.path.startswith("/maintenance") else self._run
        if live is not None and live.id == run_id:
            return live
        if run_id not in self._past:
            raise run_not_found(run_id)
        return None

    async def _one_run(self, request: Request, run_id: str) -> Reply:
        run = self._find(request, run_id)
        return Reply(200, {"data": self._past[run_id][0] if run is None else run.told()})

    async def _patch_run(self, request: Request, run_id: str) -> Reply:
        update = data(request)
        run = self._find(request, run_id)
        if run is None:
            if "current" in update:
                raise run_stopped(f"Run {run_id} is not the current run.")
            return Reply(200, {"data": self._past[run_id][0]})
        if update.get("current") is False:
            if not run.may_go:
                raise run_not_idle()
            self._put_away()
            return Reply(200, {"data": self._past[run_id][0]})
        return Reply(200, {"data": run.told()})

    async def _delete_run(self, request: Request, run_id: str) -> Reply:
        run = self._find(request, run_id)
        if run is not None and not run.may_go:
            raise run_not_idle()
        if run is not None and run is self._maintenance:
            self._maintenance = None
            return Reply(200, {})
        if run is not None:
            self._put_away()
        del self._past[run_id]
        self._remember()
        return Reply(200, {})

    async def _act(self, request: Request, run_id: str) -> Reply:
        action = data(request).get("actionType")
        if action not in ("play", "pause", "stop", "resume-from-recovery"):
            raise invalid("value is not a valid enumeration member", pointer="/data/actionType")
        run = self._find(request, run_id)
        if run is None:
            raise run_stopped(f"Run {run_id} is not the current run")
        return Reply(201, {"data": run.act(action)})

    async def _create_maintenance(self, request: Request) -> Reply:
        body(request)
        if self._run is not None and not self._run.may_go:
            detail = "There is an active protocol run. Close the run before attempting to create a maintenance run."
            raise Refusal(409, "ProtocolRunIsActive", "Protocol Run Is Active", detail)
        self._maintenance = self._new_run(maintenance=True)
        return Reply(201, {"data": self._maintenance.told()})

    async def _current_maintenance(self, _request: Request) -> Reply:
        if self._maintenance is None:
            detail = "No maintenance run currently running."
            raise Refusal(404, "NoCurrentRunFound", "No current run found", detail)
        return Reply(200, {"data": self._maintenance.told()})

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _add_command(self, request: Request, run_id: str) -> Reply:
        create, params = command(data(request))
        timeout = milliseconds(request)
        run = self._find(request, run_id)
        if run is None:
            raise run_stopped(f"Run {run_id} is not the current run")
        if self._robot.is_flex and self._faults.get("estop"):
            raise Refusal(403, "EstopEngaged", "Estop Engaged", "The E-stop is engaged.", "3008")
        added = run.add(create, params)
        if request.query.get("waitUntilComplete", "false").lower() in ("true", "1"):
            self._wake()
            try:
                async with asyncio.timeout(timeout):
                    await added.done.wait()
            except TimeoutError:
                pass  # the answer tells how far it is
        return Reply(201, {"data": added.told()})

    async def _commands(self, request: Request, run_id: str) -> Reply:
        run = self._find(request, run_id)
        length = number(request, "pageLength", _LISTED)
        if run is None:
            told, now, first = self._past[run_id][1], None, -length
            told = [{name: value for name, value in one.items() if name != "result"} for one in told]
            first += len(told)
            now = len(told) - 1 if told else None
        else:
            told = [one.told(whole=False) for one in run.commands]
            now, first = run.index_now(), run.first_listed(length)
        first = max(0, min(number(request, "cursor", first), max(0, len(told) - 1)))
        links = {} if now is None else {"current": _link(run_id, told[now], now)}
        meta = {"cursor": first, "totalLength": len(told)}
        return Reply(200, {"data": told[first : first + length], "links": links, "meta": meta})

    async def _one_command(self, request: Request, run_id: str, command_id: str) -> Reply:
        run = self._find(request, run_id)
        told = self._past[run_id][1] if run is None else [one.told() for one in run.commands]
        for one in told:
            if one["id"] == command_id:
                return Reply(200, {"data": one})
        detail = f"Error 4000 GENERAL_ERROR (CommandNotFoundError): Command {command_id} does not exist"
        raise Refusal(404, "CommandNotFound", "Run Command Not Found", detail)

    async def _add_definition(self, request: Request, run_id: str) -> Reply:
        definition = data(request)
        run = self._find(request, run_id)
        if run is None:
            raise run_stopped(f"Run {run_id} is not the current run")
        try:
            name = lw.uri(definition)
            _ = definition["wells"], definition["ordering"]
        except (KeyError, TypeError) as error:
            raise invalid(f"field required: {error}", pointer="/data") from error
        run.session.definitions[name] = definition
        return Reply(201, {"data": {"definitionUri": name}})


def _link(run_id: str, told: dict[str, Any], index: int) -> dict[str, Any]:
    meta = {
        "runId": run_id,
        "commandId": told["id"],
        "index": index,
        "key": told["key"],
        "createdAt": told["createdAt"],
    }
    return {"href": f"/runs/{run_id}/commands/{told['id']}", "meta": meta}


def _without_definition(result: dict[str, Any] | None) -> dict[str, Any] | None:
    return result and {name: value for name, value in result.items() if name != "definition"}
