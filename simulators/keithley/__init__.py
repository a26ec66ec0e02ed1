"""A Keithley 2450 or 2461 SourceMeter on its raw SCPI socket."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from labd import clock
from simulators._kit.simulator import Bench, Simulator
from simulators._kit.tcp import Client, TextServer, host_and_port
from simulators._kit.trial import Trial
from simulators._kit.world import World
from simulators.faults import knobs
from simulators.holder import Holder
from simulators.keithley.scpi import (
    ILLEGAL,
    UNDEFINED,
    Handler,
    ScpiError,
    commands,
    header,
    number,
    parameters,
    switch,
)
from simulators.keithley.source import MODELS, Source

PORT = 5025
NAN = 9.91e37  # what SCPI says for no number
_FUNCTIONS = {"VOLT": "VOLT", "VOLTAGE": "VOLT", "CURR": "CURR", "CURRENT": "CURR", "RES": "RES", "RESISTANCE": "RES"}
_OTHER = {"VOLT": "CURR", "CURR": "VOLT"}
_SETTINGS = (  # kept and told, without physics
    "SENSe#:VOLTage:NPLCycles", "SENSe#:CURRent:NPLCycles", "SENSe#:RESistance:NPLCycles",
    "SENSe#:VOLTage:RANGe[:UPPer]", "SENSe#:CURRent:RANGe[:UPPer]", "SENSe#:RESistance:RANGe[:UPPer]",
    "SENSe#:VOLTage:RANGe:AUTO", "SENSe#:CURRent:RANGe:AUTO", "SENSe#:RESistance:RANGe:AUTO",
    "SOURce#:VOLTage:RANGe:AUTO", "SOURce#:CURRent:RANGe:AUTO", "SOURce#:VOLTage:DELay", "SOURce#:CURRent:DELay",
    "SOURce#:VOLTage:DELay:AUTO", "SOURce#:CURRent:DELay:AUTO", "SENSe#:AZERo[:STATe]", "TRACe:POINts",
    "STATus:MEASurement:ENABle", "*SRE", "SYSTem:BEEPer[:IMMediate]", "DISPlay:SCReen",
)  # fmt: skip


def _lay(world: World) -> None:
    world.lay_cell("smu/cell", clock.now().timestamp())


_TRIAL = Trial(
    name="smu",
    settings={"address": "tcp://127.0.0.1:0", "max_current": "10 mA"},
    furnish=_lay,
    acts=(
        ("open_circuit", {"duration": "5 s"}),
        ("constant_current", {"current": "0.1 mA", "until_time": "10 s"}),
        ("constant_voltage", {"voltage": "3.7 V", "until_time": "10 s"}),
        ("cycle", {"upper": "3.8 V", "lower": "3.4 V", "cycles": 1, "current": "1 mA", "half_cycle_limit": "30 s"}),
        ("cell_off", {}),
    ),
    effect=lambda simulator: {"charges": simulator.source.charges},
)


class KeithleySimulator(Simulator):
    """The instrument `<name>`; its cell is the one at `<name>/cell`, wired to the front unless told otherwise.

    Settings: `address` (`tcp://host:port`, `TCPIP0::host::port::SOCKET`), `model`, `terminals`.
    Option `language`: `SCPI` or `TSP`, as it is set in its menu.

    Faults, besides those of the line (see `TextServer`):
        late_reply (s, once): the next answer comes so late.
        trip (bool, once): protection or a person switches the output off.
        power_cycle (bool, once): at the next command it finds itself just switched on.
        error (text, once): the next command leaves this in the event log instead of its effect.
        compliance (A): it gives no more current than that, whatever its limit.
        open_circuit (bool): a contact is off; no cell.
    """

    trial = _TRIAL

    FAULTS = {
        "open_circuit": knobs.switch("open_circuit"),
        "crash": knobs.switch("trip"),
    }
    BY_HAND = {"tcp": "printf '*IDN?\\n' | nc -q 1 {host} {port}"}

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._ahead = 0.0
        model = MODELS[str(bench.settings.get("model", "2450"))]
        holder = Holder(self.world, f"{self.name}/cell", bench.random(), self.faults)
        wired = "REAR" if bench.settings.get("terminals") == "rear" else "FRON"
        self.source = Source(model, holder, bench.random(), self._wall, self.faults, wired)
        self.language = str(bench.options.get("language", "SCPI"))
        self.log: list[tuple[int, str]] = []
        self.readings: list[tuple[float, float, float]] = []  # source, reading, s since the epoch
        self._enabled = 0
        self._server: TextServer | None = None
        self._asked, self._told = self._queries(), self._orders()

    def _wall(self) -> float:
        return clock.now().timestamp() + self._ahead

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> dict[str, Any]:
        """Begins to listen; gives `address`. Its output is as it was: a link that ends switches nothing.

        Raises:
            OSError: the port is taken.
        """
        self._server = TextServer(self._on_message, end=b"\n", faults=self.faults)
        address = str(self.bench.settings.get("address") or "127.0.0.1:0")
        resource = re.fullmatch(r"(?:visa://)?TCPIP\d*::([^:]+)::(\d+)::SOCKET", address, re.IGNORECASE)
        host, port = (resource[1], int(resource[2])) if resource else host_and_port(address, PORT)
        listens = await self._server.start(host, port)
        if resource:
            return {"address": address.replace(f"::{port}::", f"::{listens}::")}
        return {"address": f"tcp://{host}:{listens}"}

    async def stop(self) -> None:
        """Takes the network away; the output goes on."""
        self.source.advance()
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def step(self, dt: float) -> None:
        """Lets so many seconds pass for the cell, beside the lab's own time."""
        self._ahead += dt
        self.source.advance()

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _on_message(self, client: Client, message: str) -> None:
        if self.faults.pop("power_cycle", None):
            self.source.reset()
            self.log, self.readings, self._enabled = [], [], 0
        if self.faults.pop("trip", None):
            self.source.switch(on=False)
        answers = []
        for name, asks, text in commands(message.strip()):
            try:
                answer = self._carry_out(name, asks, text)
            except ScpiError as error:
                self.log.append((error.number, error.text))
                break
            if answer is not None:
                answers.append(answer)
        if answers:
            self._answer(client, ";".join(answers))

    def _answer(self, client: Client, text: str) -> None:
        late = self.faults.pop("late_reply", None)
        if late is None:
            client.send(text)
            return
        self.faults["delay"] = late
        client.send(text)
        del self.faults["delay"]

    def _carry_out(self, name: str, asks: bool, text: str) -> str | None:
        if (broken := self.faults.pop("error", None)) is not None:
            raise ScpiError(5001, str(broken))
        if self.language == "TSP" and name != "*LANG" and not name.startswith("*"):
            raise ScpiError(-285, "TSP Syntax error")
        for pattern, handler in self._asked if asks else self._told:
            if pattern.fullmatch(name):
                return handler(text)
        raise ScpiError(*UNDEFINED)

    # ── queries ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _queries(self) -> list[tuple[re.Pattern[str], Handler]]:
        source = self.source
        known: dict[str, Handler] = {
            "*IDN": lambda _: self._identity(),
            "*LANG": lambda _: self.language,
            "*OPC": lambda _: "1",
            "*ESE": lambda _: str(self._enabled),
            "SYSTem:ERRor[:NEXT]": lambda _: self._next_error(),
            "OUTPut#[:STATe]": lambda _: f"{source.on:d}",
            "SOURce#:FUNCtion[:MODE]": lambda _: source.setup.function,
            "SENSe#:FUNCtion[:ON]": lambda _: f'"{source.setup.sense}:DC"',
            "ROUTe:TERMinals": lambda _: source.setup.terminals,
            "READ": self._read,
            "MEASure:VOLTage": lambda _: self._measured("VOLT"),
            "MEASure:CURRent": lambda _: self._measured("CURR"),
            "TRACe:ACTual": lambda _: str(len(self.readings)),
            "TRACe:DATA": self._data,
        }
        for kind, long in (("VOLT", "VOLTage"), ("CURR", "CURRent")):
            limit = "ILIMit" if kind == "VOLT" else "VLIMit"
            known[f"SOURce#:{long}[:LEVel[:IMMediate[:AMPLitude]]]"] = self._told_of("level", kind)
            known[f"SOURce#:{long}:{limit}[:LEVel]"] = self._told_of("limit", kind)
            known[f"SOURce#:{long}:RANGe"] = self._told_of("range_", kind)
            known[f"SOURce#:{long}:{limit}[:LEVel]:TRIPped"] = lambda _: f"{source.tripped:d}"
            known[f"OUTPut#:{long}:SMODe"] = lambda _, kind=kind: source.setup.off_state[kind]  # type: ignore[misc]
            known[f"SENSe#:{long}:RSENse"] = lambda _, kind=kind: f"{source.setup.four_wire[kind]:d}"  # type: ignore[misc]
        for setting in _SETTINGS:
            known.setdefault(setting, lambda _, setting=setting: source.setup.more.get(setting, "0"))  # type: ignore[misc]
        return [(header(pattern), handler) for pattern, handler in known.items()]

    def _told_of(self, what: str, kind: str) -> Handler:
        return lambda _: _shown(getattr(self.source.setup, what)[kind])

    def _identity(self) -> str:
        model = self.source.model
        serial = f"{model.serial}{zlib.crc32(self.name.encode()) % 10_000:04d}"
        return f"KEITHLEY INSTRUMENTS,MODEL {model.name},{serial},{model.firmware}"

    def _next_error(self) -> str:
        if not self.log:
            return '0,"No error;0;0 0"'
        code, text = self.log.pop(0)
        return f'{code},"{text};1;{datetime.fromtimestamp(self._wall(), UTC):%Y/%m/%d %H:%M:%S.000}"'

    def _read(self, text: str) -> str:
        """Measures once, into a buffer; what of it is told stands after the buffer's name."""
        buffer, *elements = parameters(text) or ["defbuffer1"]
        if buffer != "defbuffer1":
            raise ScpiError(*ILLEGAL)
        sourced, reading = self.source.read() if self.source.on else (NAN, NAN)
        self.readings.append((sourced, reading, self._wall()))
        return ",".join(self._element(self.readings[-1], element) for element in elements or ["READ"])

    def _element(self, reading: tuple[float, float, float], element: str) -> str:
        sourced, value, at = reading
        match element.upper()[:4]:
            case "SOUR":
                return _shown(sourced)
            case "READ":
                return _shown(value)
            case "REL" | "RELA":
                return f"{at - self.readings[0][2]:.6f}"
        raise ScpiError(*ILLEGAL)

    def _data(self, text: str) -> str:
        first, last, *rest = parameters(text)
        elements = rest[1:] or ["READ"]
        begin, end = int(number(first, 1, len(self.readings))), int(number(last, 1, len(self.readings)))
        rows = self.readings[begin - 1 : end]
        return ",".join(self._element(row, element) for row in rows for element in elements)

    def _measured(self, kind: str) -> str:
        self.source.setup.sense = kind
        return self._read("")

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _orders(self) -> list[tuple[re.Pattern[str], Handler]]:
        source = self.source
        known: dict[str, Callable[[str], object]] = {
            "*RST": lambda _: self._reset(),
            "*CLS": lambda _: self.log.clear(),
            "*ESE": self._enable,
            "*WAI": lambda _: None,
            "*OPC": lambda _: None,
            "STATus:PRESet": lambda _: None,
            "STATus:CLEar": lambda _: self.log.clear(),
            "SYSTem:CLEar": lambda _: self.log.clear(),
            "OUTPut#[:STATe]": lambda text: source.switch(on=switch(text)),
            "OUTPut#:SMODe": lambda text: self._off_states(text, "VOLT", "CURR"),
            "SOURce#:FUNCtion[:MODE]": self._function,
            "SENSe#:FUNCtion[:ON]": self._sense,
            "ROUTe:TERMinals": self._terminals,
            "TRACe:CLEar": lambda _: self.readings.clear(),
        }
        for kind, long in (("VOLT", "VOLTage"), ("CURR", "CURRent")):
            limit = "ILIMit" if kind == "VOLT" else "VLIMit"
            known[f"SOURce#:{long}[:LEVel[:IMMediate[:AMPLitude]]]"] = self._setter(self._level, kind)
            known[f"SOURce#:{long}:{limit}[:LEVel]"] = self._setter(self._limit, kind)
            known[f"SOURce#:{long}:RANGe"] = self._setter(self._range, kind)
            known[f"SOURce#:{long}:READ:BACK"] = self._setter(self._readback, kind)
            known[f"OUTPut#:{long}:SMODe"] = self._setter(self._off_states, kind)
            known[f"SENSe#:{long}:RSENse"] = self._setter(self._four_wire, kind)
        for setting in _SETTINGS:
            known.setdefault(setting, lambda text, setting=setting: source.setup.more.update({setting: text}))  # type: ignore[misc]
        return [(header(pattern), _silent(handler)) for pattern, handler in known.items()]

    @staticmethod
    def _setter(act: Callable[..., None], kind: str) -> Callable[[str], object]:
        return lambda text: act(text, kind)

    def _reset(self) -> None:
        self.source.reset()
        self.readings.clear()

    def _enable(self, text: str) -> None:
        self._enabled = int(number(text, 0, 255))

    def _function(self, text: str) -> None:
        found = _FUNCTIONS.get(text.strip("\"'").upper())
        if found not in _OTHER:
            raise ScpiError(*ILLEGAL)
        if found != self.source.setup.function:
            self.source.switch(on=False)  # another function switches the output off
        self.source.setup.function = found

    def _sense(self, text: str) -> None:
        found = _FUNCTIONS.get(text.strip("\"'").upper().removesuffix(":DC"))
        if found is None:
            raise ScpiError(*ILLEGAL)
        self.source.setup.sense = found

    def _terminals(self, text: str) -> None:
        if text.upper()[:4] not in {"FRON", "REAR"}:
            raise ScpiError(*ILLEGAL)
        self.source.switch(on=False)
        self.source.setup.terminals = text.upper()[:4]

    def _most(self, kind: str) -> float:
        return self.source.model.volts if kind == "VOLT" else self.source.model.amps

    def _level(self, text: str, kind: str) -> None:
        value = number(text, -self._most(kind), self._most(kind))
        if abs(value) > 1.05 * self.source.setup.range_[kind]:
            self._range(str(abs(value)), kind)  # a level beyond the range takes a greater one
        self.source.advance()
        self.source.setup.level[kind] = value
        self.source.advance()

    def _limit(self, text: str, kind: str) -> None:
        value = number(text, 1e-9 if kind == "VOLT" else 0.02, self._most(_OTHER[kind]))
        self.source.advance()
        self.source.setup.limit[kind] = value
        self.source.advance()

    def _range(self, text: str, kind: str) -> None:
        model = self.source.model
        wanted = number(text, 0.0, self._most(kind))
        ranges = model.volt_ranges if kind == "VOLT" else model.amp_ranges
        self.source.setup.range_[kind] = next((one for one in ranges if wanted <= 1.05 * one), ranges[-1])

    def _readback(self, text: str, kind: str) -> None:
        self.source.setup.readback[kind] = switch(text)

    def _four_wire(self, text: str, kind: str) -> None:
        self.source.setup.four_wire[kind] = switch(text)

    def _off_states(self, text: str, *kinds: str) -> None:
        if text.upper() not in {"NORM", "NORMAL", "HIMP", "HIMPEDANCE", "ZERO", "GUAR", "GUARD"}:
            raise ScpiError(*ILLEGAL)
        self.source.advance()
        self.source.setup.off_state |= dict.fromkeys(kinds, text.upper()[:4])


def _silent(act: Callable[[str], object]) -> Handler:
    def handle(text: str) -> None:
        act(text)

    return handle


def _shown(value: float) -> str:
    return f"{value:.6E}"


SIMULATOR = KeithleySimulator
