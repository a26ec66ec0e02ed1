"""`labd new driver`: what it writes holds the contract at once, is clean, and is found by its name."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labd.cli.app import app
from labd.lab.equipment import known_drivers
from labd.scaffold import ScaffoldError, Written, new_driver
from labd.scaffold.links import LINKS
from labd.scaffold.writing import available
from labd.sdk import ROLES
from labd.testing import CHECKS, Subject, shipped, subject

ROOT = Path(__file__).parents[2]
HERE = [link for link in LINKS if available(link)]
SAMPLE = [(role, HERE[number % len(HERE)]) for number, role in enumerate(ROLES)]
"""Each role once, and with them each link; `python -m tests.scaffold.matrix` takes all pairs."""


def name_of(role: str, link: str) -> str:
    return f"toy_{role}_{link}"


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    folder = tmp_path_factory.mktemp("toys")
    sys.path.insert(0, str(folder))
    return {role: new_driver(name_of(role, link), link, role, folder) for role, link in SAMPLE}


def folder_of(toys: dict[str, Written]) -> Path:
    return next(iter(toys.values())).files[0].parents[1]


@pytest.mark.parametrize(("role", "link"), SAMPLE)
def test_a_toy_of_each_role_holds_the_contract(
    toys: dict[str, Written], role: str, link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.testing.soak.POLLS", 1000)
    name = name_of(role, link)
    transcripts = folder_of(toys) / "tests" / "transcripts"
    toy = subject(toys[role].reference, f"labd_{name}.simulator:SIMULATOR", transcripts)
    assert [path.name for path in toy.recordings()] == [f"{name}.jsonl"]
    for check in CHECKS:
        place = tmp_path / check.name
        place.mkdir()
        check.hold(toy, place)


def test_further_drivers_of_a_package_are_found_by_their_names_too(toys: dict[str, Written]) -> None:
    project = tomllib.loads((folder_of(toys) / "pyproject.toml").read_text())
    names = {name_of(role, link) for role, link in SAMPLE}
    points = project["project"]["entry-points"]
    assert points["labd.drivers"] == {name: f"labd_{name}:DRIVER" for name in names}
    assert points["labd.simulators"] == {name: f"labd_{name}.simulator:SIMULATOR" for name in names}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == {f"labd_{name}" for name in names}


def test_a_project_of_somebody_else_is_left_as_it_is_and_told_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    ended = CliRunner().invoke(
        app, ["new", "driver", "guest", "--link", "tcp", "--role", "pump", "--into", str(tmp_path)]
    )
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "pyproject.toml").read_text() == "[project]\nname = 'mine'\n"
    assert 'guest = "labd_guest:DRIVER"' in ended.stdout
    assert f"cd {tmp_path} && pytest --labd-driver labd_guest:DRIVER" in ended.stdout


def test_what_is_written_is_clean(toys: dict[str, Written]) -> None:
    folder = folder_of(toys)
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    tools = [
        ["ruff", "check", *config, "--ignore", "INP001,D100,D103", *(str(toys[role].files[0].parent) for role in toys)],
        ["ruff", "format", "--check", *config, str(folder)],
        [
            "mypy",
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(folder / "cache"),
            *(f"-plabd_{name_of(*one)}" for one in SAMPLE),
        ],
    ]
    for tool, *arguments in tools:
        ended = subprocess.run(
            [sys.executable, "-m", tool, *arguments],
            cwd=folder,
            env={**os.environ, "MYPYPATH": f"{folder}:{ROOT}", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{tool}: {ended.stdout}{ended.stderr}"


def test_their_own_tests_pass(toys: dict[str, Written]) -> None:
    folder = folder_of(toys)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-k", "bench"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(SAMPLE)} passed" in ended.stdout, ended.stdout + ended.stderr


# ── in labd's own checkout ───────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like labd's own, whose drivers are found beside the shipped ones."""
    for name in ("drivers", "simulators", "labd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for package in ("drivers", "simulators"):
        found = __import__(package)
        monkeypatch.setattr(found, "__path__", [*found.__path__, str(tmp_path / package)])
    return tmp_path


def test_in_a_checkout_it_is_four_files_and_found_by_itself(checkout: Path, tmp_path: Path) -> None:
    assert "found_by_itself" not in known_drivers()
    written = new_driver("found_by_itself", "tcp", "pump", checkout)
    assert [str(path.relative_to(checkout)) for path in written.files] == [
        "drivers/found_by_itself.py",
        "simulators/found_by_itself.py",
        "tests/drivers/test_found_by_itself.py",
        "tests/transcripts/found_by_itself.jsonl",
    ]
    assert "found_by_itself" in known_drivers()
    (toy,) = (one for one in shipped(checkout / "tests" / "transcripts") if one.kind == "found_by_itself")
    assert toy.simulator is not None
    for check in CHECKS[:-1]:
        place = tmp_path / check.name
        place.mkdir()
        check.hold(toy, place)
    for package in ("drivers", "simulators"):
        del sys.modules[f"{package}.found_by_itself"]


def test_its_own_test_passes(checkout: Path) -> None:
    new_driver("tested", "http", "gripper", checkout)
    paths = "import drivers, simulators\n" + "\n".join(
        f"{package}.__path__.append({str(checkout / package)!r})" for package in ("drivers", "simulators")
    )
    (checkout / "tests" / "conftest.py").write_text(paths)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(checkout), "drivers"],
        cwd=checkout / "tests",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr


# ── refused ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("name", "link", "role", "words"),
    [
        ("My-Pump", "tcp", "pump", "is no name for a driver"),
        ("class", "tcp", "pump", "is no name for a driver"),
        ("julabo", "tcp", "pump", "there is a driver 'julabo' already"),
        ("mine", "modbs", "pump", "did you mean `modbus`"),
        ("mine", "tcp", "pumpe", "did you mean `pump`"),
    ],
)
def test_what_cannot_be_is_refused_with_a_mend_and_nothing_is_written(
    name: str, link: str, role: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ScaffoldError, match=words):
        new_driver(name, link, role, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    first = new_driver("mine", "tcp", "pump", tmp_path)
    before = {path: path.read_text() for path in first.files}
    with pytest.raises(ScaffoldError, match="is there already"):
        new_driver("mine", "tcp", "pump", tmp_path)
    assert {path: path.read_text() for path in first.files} == before
    new_driver("other", "tcp", "pump", tmp_path)
    kept = [line for line in before[first.files[-1]].splitlines() if not line.startswith("packages")]
    assert set(kept) <= set(first.files[-1].read_text().splitlines())  # of the package's pyproject.toml: only added to


def test_a_link_that_lacks_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labd.scaffold.writing.find_spec", lambda _: None)
    with pytest.raises(ScaffoldError, match=r"pip install 'labd\[opcua\]'"):
        new_driver("mine", "opcua", "pump", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_each_link_and_role_has_a_toy() -> None:
    assert {link for _, link in SAMPLE} == set(HERE)
    assert set(LINKS) == {"serial", "tcp", "modbus", "opcua", "visa", "http"}
    assert {role for role, _ in SAMPLE} == set(ROLES)
    assert isinstance(subject("julabo"), Subject)
