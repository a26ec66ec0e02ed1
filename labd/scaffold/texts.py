"""Templates, and where the names in them come from."""

from __future__ import annotations

from importlib.resources import files

HOMES: dict[str, str] = {
    **dict.fromkeys(("asyncio", "json", "math", "re", "zlib"), ""),
    **dict.fromkeys(("Annotated", "Any", "Literal"), "typing"),
    **dict.fromkeys(("Mapping", "Sequence"), "collections.abc"),
    **dict.fromkeys(
        ("BaseModel", "ConfigDict", "Field", "JsonValue", "ValidationError", "field_validator"), "pydantic"
    ),
    **dict.fromkeys(("Line", "StreamAddress"), "labd.io.address"),
    "Orders": "labd.io.arrival",
    **dict.fromkeys(("HttpLink", "checked_address"), "labd.io.http"),
    **dict.fromkeys(
        ("ModbusAddress", "ModbusLink", "WordOrder", "float32", "from_float32", "uint32"), "labd.io.modbus"
    ),
    "OpcUaLink": "labd.io.opcua",
    **dict.fromkeys(("TcpLink", "host_and_port"), "labd.io.tcp"),
}
"""Of a driver, beside labd.sdk."""

SIMULATOR_HOMES: dict[str, str] = {
    **dict.fromkeys(("json", "math", "struct", "zlib"), ""),
    "Any": "typing",
    **dict.fromkeys(("Mapping", "Sequence"), "collections.abc"),
    "clock": "labd",
    "ua": "asyncua",
    "UaServer": "simulators._kit.opcua",
    **dict.fromkeys(("HttpServer", "Reply", "Request"), "simulators._kit.http"),
    "mass_at": "simulators._kit.matter",
    **dict.fromkeys(
        ("ILLEGAL_ADDRESS", "ILLEGAL_VALUE", "READ_INPUT", "ModbusError", "ModbusTcpServer"), "simulators._kit.modbus"
    ),
    "PtyServer": "simulators._kit.pty",
    **dict.fromkeys(("Bench", "Simulator"), "simulators._kit.simulator"),
    **dict.fromkeys(("Client", "TextServer", "host_and_port"), "simulators._kit.tcp"),
    "Trial": "simulators._kit.trial",
    **dict.fromkeys(("LID", "Cell", "World"), "simulators._kit.world"),
}

TEST = '''\
"""The driver of «TITLE» and the simulator of its device: what is their own, beside the contract of all drivers."""

«IMPORTS»

TRANSCRIPTS = «FOLDER»
«SUBJECT»


«CONTRACT»def test_what_it_is_told_is_seen_on_its_bench(tmp_path: Path) -> None:
    """Put your device's own stories in its place."""

    async def told() -> None:
        async with stage(SUBJECT, tmp_path) as bench:
            seen = [(bench.seen(), await bench.driver.read_state())]
            for action, parameters in SUBJECT.acts():
                await bench.act(action, parameters)
                seen.append((bench.seen(), await bench.driver.read_state()))
            assert any(later != seen[0] for later in seen)

    run(told(), VirtualTimeline())
'''

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.24"]
build-backend = "hatchling.build"

[project]
name = "labd-«NAME»"
version = "0.1.0"
description = "A driver for labd."
requires-python = ">=3.11"
dependencies = ["labd"]

[project.optional-dependencies]
dev = ["pytest>=8"]

# so that lab.yaml can say `driver: «NAME»`, and `simulator: {}` for it
[project.entry-points."labd.drivers"]
«NAME» = "labd_«NAME»:DRIVER"

[project.entry-points."labd.simulators"]
«NAME» = "labd_«NAME».simulator:SIMULATOR"

[tool.hatch.build.targets.wheel]
packages = ["labd_«NAME»"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""


ENTRIES = """\
[project.entry-points."labd.drivers"]
«NAME» = "labd_«NAME»:DRIVER"

[project.entry-points."labd.simulators"]
«NAME» = "labd_«NAME».simulator:SIMULATOR"
"""


def template(name: str) -> str:
    """A template by its name."""
    return files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
