"""What a link gives to a driver and its simulator: how it is opened, and how an order and a look go over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

_LINE = "`#<n> state`, `#<n> order <number> <verb> <values as JSON>`, `#<n> stop`; answers begin with the same `#<n>`."
_LIMIT = "ANSWER_LIMIT = 2.0  # s; answers come at once"


@dataclass(frozen=True)
class Link:
    """One kind of link.

    Args:
        by: in words.
        wire: what goes over it, in words.
        code: the stem of its templates.
        address: that the simulator listens at on a bench.
        example: an address as people write it in lab.yaml.
        constants, settings, link, open: of the driver.
        server: whose faults the simulator has; start_raises, fields, start, stop, constants_of_simulator: its code.
        needs: modules of an extra of labd with the link's name, without which there is no such link.
        homes: of names that the driver uses, where others of the same name are elsewhere.
    """

    by: str
    wire: str
    code: str
    address: str
    example: str
    constants: str
    settings: str
    link: str
    open: str
    server: str
    fields: str
    start: str
    stop: str
    start_raises: str = ""
    needs: tuple[str, ...] = ()
    homes: Mapping[str, str] = field(default_factory=dict)

    def template(self, side: str) -> str:
        """The code of its wire, on the `driver`'s or the `simulator`'s side."""
        return files(__package__).joinpath("links", f"{self.code}_{side}.txt").read_text(encoding="utf-8").rstrip()


def _settings(words: str, check: str, more_words: str = "", more: str = "") -> str:
    return f'''\
    """Where the device is.

    Args:
        address: {words}
{more_words}    """

    address: str
{more}
    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        {check}
        return text
'''


_STOP = """\
        if self._server is not None:
            await self._server.stop()
            self._server = None
"""

LINKS: dict[str, Link] = {
    "serial": Link(
        by="on a serial line",
        wire=f"9600 8N1, lines of text that end with LF.\n{_LINE}",
        code="stream",
        address="ports/toy",
        example="/dev/serial/by-id/usb-Toy-if00",
        constants=f"FACTORY = Line(9600)\n{_LIMIT}",
        settings=_settings(
            "`/dev/serial/by-id/…`, `serial:///dev/ttyUSB0?baudrate=9600` or `tcp://host:port` of a serial server.",
            "StreamAddress.parse(text, FACTORY)",
        ),
        link=(
            "        self._link = StreamAddress.parse(self.settings.address, FACTORY).link()\n        self._count = 0\n"
        ),
        open="        await self._link.open()\n",
        server="PtyServer",
        fields='        self._server: PtyServer | None = None\n        self._input = b""\n',
        start_raises="            PtyError: the link cannot be made.\n",
        start="""\
        address = str(self.bench.settings.get("address") or f"{self.name}.pty")
        scheme, _, rest = address.rpartition("://")
        path, question, options = rest.partition("?")
        self._server = PtyServer(self.bench.directory / path, self._receive, self.faults)
        found = await self._server.start()
        return {"address": f"serial://{found}{question}{options}" if scheme else found}

    def _receive(self, data: bytes) -> None:
        *lines, self._input = (self._input + data).split(b"\\n")
        for line in lines:
            answer = self._answer(line.decode("ascii", "replace"))
            if answer is not None and self._server is not None:
                self._server.write(f"{answer}\\n".encode())
""",
        stop=_STOP,
    ),
    "tcp": Link(
        by="over TCP",
        wire=f"lines of text that end with LF.\n{_LINE}",
        code="stream",
        address="127.0.0.1:0",
        example="10.0.0.7:4000",
        constants=f"PORT = 4000\n{_LIMIT}",
        settings=_settings("`host:port`, or the host alone.", "host_and_port(text, PORT)"),
        link=(
            "        host, port = host_and_port(self.settings.address, PORT)\n"
            "        self._link = TcpLink(host, port)\n        self._count = 0\n"
        ),
        open="        await self._link.open()\n",
        server="TextServer",
        fields="        self._server: TextServer | None = None\n",
        start="""\
        self._server = TextServer(self._on_message, end=b"\\n", faults=self.faults)
        host, port = host_and_port(str(self.bench.settings["address"]), PORT)
        return {"address": f"{host}:{await self._server.start(host, port)}"}

    def _on_message(self, client: Client, message: str) -> None:
        answer = self._answer(message)
        if answer is not None:
            client.send(answer)
""",
        stop=_STOP,
    ),
    "http": Link(
        by="over HTTP",
        wire="`GET /state`; `POST /orders` with `number`, `verb` and `values`: 202, or 4xx with `why`; `POST /stop`.",
        code="http",
        address="http://127.0.0.1:0",
        example="http://10.0.0.7:8080",
        constants="ANSWER_LIMIT = 5.0  # s; answers come at once",
        settings=_settings("`http://host:port`.", "checked_address(text)"),
        link="        self._link = HttpLink(self.settings.address, deadline=ANSWER_LIMIT)\n",
        open="",
        server="HttpServer",
        fields="        self._server: HttpServer | None = None\n",
        start="""\
        self._server = HttpServer(self._handle)
        host, port = host_and_port(str(self.bench.settings["address"]), PORT)
        return {"address": f"http://{host}:{await self._server.start(host, port)}"}
""",
        stop=_STOP,
    ),
    "modbus": Link(
        by="over Modbus TCP or RTU",
        wire="the register map below; 32-bit values with their words swapped (CDAB).",
        code="modbus",
        address="modbus://127.0.0.1:0",
        example="modbus://10.0.0.7:502",
        constants=_LIMIT,
        settings=_settings(
            "`modbus://host:port`, `modbus+rtu://host:port` or `serial:///dev/…?baudrate=19200&parity=E`.",
            "ModbusAddress.parse(text)",
            "        device_id: the Modbus unit.\n",
            "    device_id: Annotated[int, Bounds(min=0, max=247)] = 1\n",
        ),
        link=(
            "        said = self.settings\n"
            "        self._link = ModbusLink(said.address, device_id=said.device_id, deadline=ANSWER_LIMIT)\n"
        ),
        open="        await self._link.open()\n",
        server="ModbusTcpServer",
        fields="        self._server: ModbusTcpServer | None = None\n        self._verb = 0  # of the last order\n",
        start="""\
        self._server = ModbusTcpServer(self, UNIT, self.faults)
        host, port = host_and_port(str(self.bench.settings["address"]), PORT)
        return {"address": f"modbus://{host}:{await self._server.start(host, port)}"}
""",
        stop=_STOP,
    ),
    "visa": Link(
        by="by SCPI on a VISA socket",
        wire="SCPI, lines that end with LF: `*IDN?`, `:STAT?` (answered with JSON),\n"
        "`:ORD <number> <verb> <values as JSON>`, `:ABOR`, `:SYST:ERR?`.",
        code="visa",
        address="TCPIP::127.0.0.1::0::SOCKET",
        example="TCPIP::10.0.0.9::5025::SOCKET",
        constants=f'{_LIMIT}\n\n_RESOURCE = re.compile(r"TCPIP\\d*::([^:]+)::(\\d+)::SOCKET", re.IGNORECASE)',
        settings=_settings("`TCPIP::host::port::SOCKET`.", "_host_and_port(text)"),
        link="        self._link = TcpLink(*_host_and_port(self.settings.address))\n",
        open="        await self._link.open()\n",
        server="TextServer",
        fields="        self._server: TextServer | None = None\n        self._error = _NO_ERROR\n",
        start="""\
        self._server = TextServer(self._on_message, end=b"\\n", faults=self.faults)
        _, host, port, _ = str(self.bench.settings["address"]).split("::")
        return {"address": f"TCPIP::{host}::{await self._server.start(host, int(port))}::SOCKET"}

    def _on_message(self, client: Client, message: str) -> None:
        answer = self._carried_out(message)
        if answer is not None:
            client.send(answer)
""",
        stop=_STOP,
    ),
    "opcua": Link(
        by="over OPC UA",
        wire="`Toy/State`, a variable with JSON; methods `Toy/Order` (number, verb, values as JSON) and `Toy/Stop`.",
        code="opcua",
        address="opc.tcp://127.0.0.1:0",
        example="opc.tcp://10.0.0.7:4840",
        constants=f'{_LIMIT}\nNAMESPACES = {{"toy": "urn:labd:toy"}}',
        settings=_settings("`opc.tcp://host:port`.", "checked_address(text)"),
        link="        self._link = OpcUaLink(self.settings.address, namespaces=NAMESPACES, deadline=ANSWER_LIMIT)\n",
        open="        await self._link.open()\n",
        server="UaServer",
        fields="        self._server: UaServer | None = None\n",
        start="""\
        server = UaServer(NAMESPACES, self._show, self.bench.options, self.faults)
        await server.prepare()
        await server.variable("Toy/State", "", "String")
        await server.method("Toy/Order", self._ordered, ("number: UInt32", "verb: String", "values: String"))
        await server.method("Toy/Stop", self._stopped)
        self._server = server
        return {"address": await server.start(str(self.bench.settings["address"]))}
""",
        stop=_STOP,
        needs=("asyncua", "labd.io.opcua"),
        homes={"checked_address": "labd.io.opcua"},
    ),
}
