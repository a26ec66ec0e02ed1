"""`pytest --labd-driver`: as whoever writes a driver elsewhere runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labd.cli.app import app
from labd.testing.subject import NoSubject, subject

ROOT = Path(__file__).parents[2]
QUICK = ("-k", "unit or documented")


def ran(folder: Path, *arguments: str, own: bool = True) -> tuple[int, str]:
    """pytest in a folder, as its command starts: only what is `own` to the test is on the path beforehand."""
    plugin = ["-p", "labd.testing.plugin", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-v", *plugin, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}" if own else str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a driver and a test of somebody's own."""
    (tmp_path / "mine.py").write_text("from drivers.julabo import DRIVER\n")
    (tmp_path / "test_mine.py").write_text("def test_mine() -> None:\n    assert True\n")
    return tmp_path


def test_a_driver_alone_is_held_to_the_contract(own: Path) -> None:
    status, said = ran(own, "--labd-driver", "julabo", *QUICK)
    assert (status, "2 passed" in said, "test_mine" in said) == (0, True, False), said
    assert "[julabo-every_number_has_a_unit] PASSED" in said


def test_beside_tests_that_are_named_it_is_one_more(own: Path) -> None:
    status, said = ran(own, "test_mine.py", "--labd-driver", "mine:DRIVER", "-k", "unit or test_mine")
    assert status == 0, said
    assert "test_mine.py::test_mine PASSED" in said
    assert "[mine:DRIVER-every_number_has_a_unit] PASSED" in said


def test_what_labd_new_driver_wrote_is_found_before_it_is_installed(tmp_path: Path) -> None:
    made = CliRunner().invoke(
        app, ["new", "driver", "oven", "--link", "tcp", "--role", "thermostat", "--into", str(tmp_path)]
    )
    assert made.exit_code == 0, made.output
    status, said = ran(tmp_path, "--labd-driver", "labd_oven:DRIVER", "-k", "quality or safe_state", own=False)
    assert (status, "labd_oven:DRIVER-its_quality_is_as_it_says] PASSED" in said) == (0, True), said


def test_without_the_option_nothing_is_added(own: Path) -> None:
    status, said = ran(own)
    assert (status, "1 passed" in said) == (0, True), said


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("jlabo", "there is no driver 'jlabo'"),
        ("mine:NOTHING", "has no attribute 'NOTHING'"),
        ("mine", "there is no driver 'mine'"),
        ("pathlib:Path", "this is no driver"),
        ("no_such_package:DRIVER", "No module named 'no_such_package'"),
    ],
)
def test_what_is_no_driver_is_told(own: Path, named: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(own))
    with pytest.raises(NoSubject, match=words):
        subject(named)
    sys.modules.pop("mine", None)


def test_a_command_with_no_driver_fails_in_words(own: Path) -> None:
    status, said = ran(own, "--labd-driver", "jlabo")
    assert (status != 0, "--labd-driver jlabo: there is no driver 'jlabo'" in said) == (True, True), said


def test_a_simulator_may_be_named(own: Path) -> None:
    place = "simulators.julabo:SIMULATOR"
    status, said = ran(own, "--labd-driver", "mine:DRIVER", "--labd-simulator", place, "-k", "closing")
    assert (status, "1 passed" in said) == (0, True), said
