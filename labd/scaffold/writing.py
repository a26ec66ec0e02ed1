"""Puts the files of a new driver together and writes them."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from labd.expr import did_you_mean
from labd.lab.equipment import known_drivers
from labd.scaffold.layout import fitted, imports, literal, table, used
from labd.scaffold.links import LINKS as KINDS
from labd.scaffold.links import Link
from labd.scaffold.roles import PLACES, THINGS, Layout, actions, layout, physics
from labd.scaffold.texts import ENTRIES, HOMES, PYPROJECT, SIMULATOR_HOMES, TEST, template
from labd.sdk import ROLES, Driver
from labd.sdk import __all__ as sdk_names
from labd.sdk.roles import __all__ as role_names

LINKS = tuple(KINDS)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_REGISTERS = {"number": 2, "text": 16, "list": 8}


class ScaffoldError(Exception):
    """The files cannot be written; the text says why, and how to mend it."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Args:
        files: the four of the driver; with the package's own pyproject.toml where that was written too.
        kind: what lab.yaml calls it.
        reference: what `pytest --labd-driver` calls it.
        address: an example for lab.yaml.
        lacking: what the package's pyproject.toml, which was there, still needs so that lab.yaml finds the driver.
    """

    files: tuple[Path, ...]
    kind: str
    reference: str
    address: str
    lacking: str = ""


@dataclass(frozen=True)
class _Plan:
    """Where the files go: in this repository, or in a package of its own."""

    driver: Path
    simulator: Path
    test: Path
    transcript: Path
    driver_module: str
    simulator_module: str
    own: bool
    pyproject: Path | None = None
    """Of the package, written or not yet."""

    @property
    def first_party(self) -> tuple[str, ...]:
        return () if self.own else ("labd", "simulators")


def new_driver(name: str, link: str, role: str, into: Path) -> Written:
    """Writes driver, simulator, test and transcript of a toy device that passes the contract.

    Args:
        name: of the driver in lab.yaml, `my_pump`.
        link: one of LINKS.
        role: one of the roles.
        into: labd's own checkout, or the folder of a package, which is begun where there is none.

    Raises:
        ScaffoldError: what was asked for cannot be; nothing was written.
    """
    _check(name, link, role)
    plan = _planned(name, into)
    there = [path for path in (plan.driver, plan.simulator, plan.test, plan.transcript) if path.exists()]
    if there:
        raise ScaffoldError(f"{there[0]} is there already; choose another name, or another folder")
    from labd.scaffold.recording import recorded

    texts = {
        plan.driver: _driver(name, KINDS[link], link, ROLES[role], plan),
        plan.simulator: _simulator(name, KINDS[link], link, ROLES[role], plan),
        plan.test: _test(name, plan),
    }
    lacking = ""
    if plan.pyproject is not None:
        project = _project(plan.pyproject, name)
        lacking = "" if project is not None else ENTRIES.replace("«NAME»", name)
        texts |= {plan.pyproject: project} if project is not None else {}
        texts[plan.driver.parent / "py.typed"] = ""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    plan.transcript.parent.mkdir(parents=True, exist_ok=True)
    plan.transcript.write_text(recorded(plan.driver, plan.simulator, link), encoding="utf-8")
    files = (plan.driver, plan.simulator, plan.test, plan.transcript)
    more = (plan.pyproject,) if plan.pyproject is not None and not lacking else ()
    reference = f"{plan.driver_module}:DRIVER" if plan.own else name
    return Written((*files, *more), name, reference, KINDS[link].example, lacking)


def _project(file: Path, name: str) -> str | None:
    """The package's pyproject.toml with the driver's entries; None where it is one that no `labd new driver` wrote."""
    if not file.exists():
        return PYPROJECT.replace("«NAME»", name)
    text = file.read_text(encoding="utf-8")
    for head, line in (
        ('[project.entry-points."labd.drivers"]\n', f'{name} = "labd_{name}:DRIVER"\n'),
        ('[project.entry-points."labd.simulators"]\n', f'{name} = "labd_{name}.simulator:SIMULATOR"\n'),
        ("[tool.hatch.build.targets.wheel]\npackages = [", f'"labd_{name}", '),
    ):
        if head not in text:
            return None
        text = text.replace(head, head + line)
    return text


def _check(name: str, link: str, role: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ScaffoldError(f"{name!r} is no name for a driver; it has small letters, digits and _, a letter first")
    if link not in LINKS:
        raise ScaffoldError(f"there is no link {link!r}; {did_you_mean(link, LINKS, 'there is')}")
    if role not in ROLES:
        raise ScaffoldError(f"there is no role {role!r}; {did_you_mean(role, ROLES, 'there is')}")
    if role not in THINGS:
        raise ScaffoldError(f"there is no toy of the role {role}; take another, and change it")
    if name in known_drivers():
        raise ScaffoldError(f"there is a driver {name!r} already; choose another name")
    if not available(link):
        raise ScaffoldError(f"{link} needs more than is installed here: `pip install 'labd[{link}]'`")


def available(link: str) -> bool:
    """Whether all is there that a link needs."""
    try:
        return all(find_spec(module) is not None for module in KINDS[link].needs)
    except ModuleNotFoundError:
        return False


def _planned(name: str, into: Path) -> _Plan:
    if all((into / folder / "__init__.py").is_file() for folder in ("drivers", "simulators", "labd")):
        return _Plan(
            into / "drivers" / f"{name}.py",
            into / "simulators" / f"{name}.py",
            into / "tests" / "drivers" / f"test_{name}.py",
            into / "tests" / "transcripts" / f"{name}.jsonl",
            f"drivers.{name}",
            f"simulators.{name}",
            own=False,
        )
    package = f"labd_{name}"
    return _Plan(
        into / package / "__init__.py",
        into / package / "simulator.py",
        into / "tests" / f"test_{name}.py",
        into / "tests" / "transcripts" / f"{name}.jsonl",
        package,
        f"{package}.simulator",
        own=True,
        pyproject=into / "pyproject.toml",
    )


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _title(name: str) -> str:
    return name.replace("_", " ")


# ── the driver ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _driver(name: str, link: Link, kind: str, role: type[Driver], plan: _Plan) -> str:
    rows = role.role == "potentiostat"
    place = PLACES.get(role.role)
    parts = {
        "WIRE CODE": link.template("driver"),
        "CLASS": _class(name),
        "TITLE": _title(name),
        "ROLE": role.role,
        "BY": link.by,
        "WIRE": link.wire,
        "BASE": role.__name__,
        "SIGNALS": role.Signals.__name__,
        "SETTINGS": link.settings,
        "CONSTANTS": link.constants + (_map(role, driver=True) if kind == "modbus" else ""),
        "LINK": link.link,
        "OPEN": link.open,
        "PLACE": _PLACE.replace("«WHERE»", place) if place else "",
        "ACTIONS": actions(role),
        "ENDED": _ENDED_WITH_ROWS if rows else _ENDED,
        "CALL": "call, " if rows else "",
        "CALL ARGUMENT": "call: Call, " if rows else "",
        "ATTACH": "" if rows else "        del call\n",
        "STATE ROWS": _STATE_ROWS if rows else "",
        "MODBUS ROWS": _MODBUS_ROWS if rows else "",
    }
    of_sdk = {**dict.fromkeys(role_names, "labd.sdk.roles"), **dict.fromkeys(sdk_names, "labd.sdk")}
    homes = {**HOMES, **of_sdk, **link.homes}
    return _filled(template("driver"), parts, homes, plan.first_party)


_PLACE = '''
    def place_of(self, unit: str) -> str:
        """`<name>/«WHERE»`."""
        del unit
        return f"{self.name}/«WHERE»"
'''
_ENDED = """\
        while True:
            state = await self._state()
            if state.order != number:
                raise OutcomeUnknown("it works on another order by now")
            if state.progress == "done":
                return state.result
            if state.progress != "running":
                raise Fault("it was stopped on the way; look at it")
            await asyncio.sleep(LOOK)
"""
_ENDED_WITH_ROWS = """\
        rows = 0
        while True:
            state = await self._state()
            if state.order != number:
                raise OutcomeUnknown("it works on another order by now")
            if state.rows > rows:
                rows = state.rows
                call.row(*state.row)
            if state.progress == "done":
                return state.result
            if state.progress != "running":
                raise Fault("it was stopped on the way; look at it")
            await asyncio.sleep(LOOK)
"""
_STATE_ROWS = """\
    rows: int = 0  # of data, of this order
    row: tuple[float, ...] = ()  # the newest
"""
_MODBUS_ROWS = """\
        words = await self._link.read_input_registers(ROW_AT, ROW_LENGTH)
        numbers = [float32(words[at : at + 2]) for at in range(2, ROW_LENGTH, 2)]
        told["rows"], told["row"] = uint32(words[:2]), [number for number in numbers if not math.isnan(number)]
"""


# ── the simulator ────────────────────────────────────────────────────────────────────────────────────────────────────
def _simulator(name: str, link: Link, kind: str, role: type[Driver], plan: _Plan) -> str:
    rows = role.role == "potentiostat"
    port = f"PORT = {_PORTS[kind]}\n" if kind in _PORTS else _MORE.get(kind, "")
    parts = {
        "WIRE CODE": link.template("simulator"),
        "CLASS": _class(name),
        "TITLE": _title(name),
        "THING": THINGS[role.role],
        "ITS WIRE": _WIRES[kind],
        "WIRE": link.wire,
        "CONSTANTS": port + (_map(role, driver=False) if kind == "modbus" else ""),
        "PHYSICS": physics(role.role),
        "SERVER": link.server,
        "TRIAL ADDRESS": link.address,
        "FIELDS": link.fields,
        "START RAISES": link.start_raises,
        "START": link.start,
        "STOP": link.stop,
        "STATE": _STATE_WITH_ROWS if rows else _STATE,
        "MODBUS ROWS": _ROWS_IN_TABLE if rows else "",
    }
    return _filled(template("simulator"), parts, SIMULATOR_HOMES, plan.first_party)


_MORE = {"visa": "_NO_ERROR = '0,\"No error\"'\n", "opcua": 'NAMESPACES = {"toy": "urn:labd:toy"}\n'}
_WIRES = {
    "serial": "a serial line",
    "tcp": "a TCP port",
    "visa": "a socket with SCPI",
    "http": "an HTTP server",
    "modbus": "Modbus TCP",
    "opcua": "an OPC UA server",
}
_PORTS = {"tcp": 4000, "http": 8080, "modbus": 502}
_STATE = """\
        told = {"model": "toy", "serial": self.name, "firmware": "1.0", "boot": self.boot}
        order = {"order": orders.number, "progress": orders.progress, "result": orders.result}
        return {**told, **order, "signals": self.thing.signals()}
"""
_STATE_WITH_ROWS = """\
        told = {"model": "toy", "serial": self.name, "firmware": "1.0", "boot": self.boot}
        order = {"order": orders.number, "progress": orders.progress, "result": orders.result}
        rows = {"rows": self.thing.count, "row": self.thing.row}
        return {**told, **order, **rows, "signals": self.thing.signals()}
"""
_ROWS_IN_TABLE = """\
        numbers = [*self.thing.row, *[math.nan] * 4][:4]
        words = [*_swapped(self.thing.count), *(word for number in numbers for word in _float(number))]
        table.update(enumerate(words, ROW_AT))
"""


# ── registers ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _map(role: type[Driver], *, driver: bool) -> str:
    """The register map of a role."""
    verbs = tuple(role.actions)
    results = {name: layout(action.result) for name, action in role.actions.items() if action.result.model_fields}
    parts = [
        "\n# input registers: who it is and its last order, then its signals, then what came of the order",
        "HEAD, HEAD_LENGTH = 0, 9\nBOOT, ORDER, DOING, VERB, SERIAL, FIRMWARE = 0, 2, 4, 5, 6, 8"
        if driver
        else "UNIT = 1\nFIRMWARE = 100",
        "SIGNALS_AT, RESULT_AT = 20, 100",
        *([_result_length(results)] if driver else []),
        *(["ROW_AT, ROW_LENGTH = 90, 10" if driver else "ROW_AT = 90"] if role.role == "potentiostat" else []),
        "# coils",
        "STOP = 0",
        "# holding registers: the order's number (2), its verb (1), its values",
        fitted("VERBS = (", [literal(one) for one in verbs], ",)" if len(verbs) == 1 else ")"),
        "\nLayout = tuple[tuple[str, str], ...]",
        f"REGISTERS = {{{', '.join(f'{literal(kind)}: {count}' for kind, count in _REGISTERS.items())}}}",
        *(['PROGRESS = {0: "idle", 1: "running", 2: "done", 3: "stopped"}'] if driver else []),
        _layouts("SIGNALS", layout(role.Signals)),
        table("PARAMETERS", "dict[str, Layout]", {name: layout(one.parameters) for name, one in role.actions.items()}),
        table("RESULTS", "dict[str, Layout]", results if driver else {**dict.fromkeys(verbs, ()), **results}),
    ]
    return "\n".join(parts) + "\n\n"


def _layouts(name: str, rows: Layout) -> str:
    return f"{name}: Layout = (\n" + "".join(f"    {literal(one)},\n" for one in rows) + ")"


def _result_length(results: dict[str, Layout]) -> str:
    most = max((sum(_REGISTERS[kind] for _, kind in rows) for rows in results.values()), default=2)
    return f"RESULT_LENGTH = {most}"


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _test(name: str, plan: _Plan) -> str:
    own = [literal(f"{plan.driver_module}:DRIVER"), literal(f"{plan.simulator_module}:SIMULATOR")]
    named = own if plan.own else [literal(name)]
    parts = {
        "TITLE": _title(name),
        "SUBJECT": fitted("SUBJECT = subject(", [*named, "transcripts=TRANSCRIPTS"], ")"),
        "CONTRACT": template("contract") + "\n\n" if plan.own else "",
        "FOLDER": f'Path(__file__).{"parent" if plan.own else "parents[1]"} / "transcripts"',
    }
    homes = {
        "pytest": "",
        "Path": "pathlib",
        "VirtualTimeline": "labd.clock",
        "run": "labd.clock",
        "CHECKS": "labd.testing",
        "Check": "labd.testing",
        "stage": "labd.testing",
        "subject": "labd.testing",
    }
    return _filled(TEST, parts, homes, plan.first_party)


def _filled(text: str, parts: dict[str, str], homes: dict[str, str], first_party: tuple[str, ...]) -> str:
    """A template with its parts, and with the imports that it then needs."""
    for mark, part in parts.items():
        # a mark on a line of its own goes with its line where nothing stands for it
        whole = part.rstrip("\n")
        text = f"\n{text}".replace(f"\n«{mark}»\n", f"\n{whole}\n" if whole else "\n")[1:]
        text = text.replace(f"«{mark}»", part)
    head, body = text.split("«IMPORTS»", 1)
    return head + imports(used(body), homes, first_party) + body
