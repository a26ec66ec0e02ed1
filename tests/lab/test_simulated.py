from __future__ import annotations

from pathlib import Path

import pytest

from labd.lab.models import LabConfig
from labd.lab.simulated import ports_beside


def lab(tmp_path: Path, simulator: bool = True, **settings: str) -> LabConfig:
    device = {"driver": "toy", "settings": settings, **({"simulator": {}} if simulator else {})}
    store = str(tmp_path / "store")
    return LabConfig.model_validate({"labd": 1, "lab": "bench", "store": store, "devices": {"toy": device}})


@pytest.mark.parametrize(
    ("key", "said", "found"),
    [
        ("address", "ports/pump", "{}/ports/pump"),
        ("port", "ports/stat1", "{}/ports/stat1"),
        ("address", "serial://ports/pump?baudrate=9600", "serial://{}/ports/pump?baudrate=9600"),
    ],
)
def test_a_relative_port_is_where_the_simulators_process_puts_it(
    tmp_path: Path, key: str, said: str, found: str
) -> None:
    assert ports_beside(lab(tmp_path, **{key: said})) == {"toy": {key: found.format(tmp_path / "store" / "simulators")}}


@pytest.mark.parametrize(
    "said", ["/dev/ttyUSB0", "serial:///dev/ttyUSB0", "balance.lab", "tcp://127.0.0.1:4305", "http://127.0.0.1:80/a"]
)
def test_other_addresses_are_left_as_they_are(tmp_path: Path, said: str) -> None:
    assert ports_beside(lab(tmp_path, address=said)) == {}


def test_a_real_devices_port_is_left_as_it_is(tmp_path: Path) -> None:
    assert ports_beside(lab(tmp_path, simulator=False, address="ports/pump")) == {}
