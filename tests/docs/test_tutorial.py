"""The tutorials do what they say: its files are written, its commands are run, their output is compared.

In a ```console block, `$ command` is followed by what it prints. A `…` stands for any text in a line, a line that is
only `…` for any lines.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "labd": ["-c", "from labd.cli import main; main()"],
    "pytest": ["-m", "pytest", "-p", "labd.testing.plugin", "-p", "no:cacheprovider"],
    "pip": ["-m", "pip", "--disable-pip-version-check", "--no-input"],
}
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]
"""With `pip install`: what a package needs is there."""
_FENCE = re.compile(r"^```(?P<kind>\w+)(?: title=(?P<title>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    line: str
    output: str


def blocks(text: str) -> Iterator[File | Command]:
    for fence in _FENCE.finditer(text):
        if fence["title"]:
            yield File(fence["title"], fence["body"])
        elif fence["kind"] == "console":
            for part in fence["body"].split("$ ")[1:]:
                line, _, output = part.partition("\n")
                yield Command(line, output)


def pattern(output: str) -> re.Pattern[str]:
    lines = (
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in output.splitlines()
    )
    return re.compile("".join(lines))


def run(line: str, folder: Path, python: str) -> str:
    name, *arguments = shlex.split(line)
    if name == "pip":
        arguments += OFFLINE
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    ended = subprocess.run(
        [python, *COMMANDS[name], *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return ended.stdout


def followed(page: Path, folder: Path, python: str = sys.executable) -> int:
    """Follows a page in a folder; gives the number of commands that were run."""
    count = 0
    for block in blocks(page.read_text(encoding="utf-8")):
        if isinstance(block, File):
            (folder / block.name).write_text(block.text, encoding="utf-8")
        else:
            printed = run(block.line, folder, python)
            assert pattern(block.output).fullmatch(printed), f"$ {block.line}\n{printed}"
            count += 1
    return count


def test_the_first_protocol(tmp_path: Path) -> None:
    assert followed(ROOT / "docs" / "tutorial" / "first-protocol.md", tmp_path) == 7
    picture = ROOT / "docs" / "images" / "first-protocol.svg"
    assert (tmp_path / "first.svg").read_text() == picture.read_text(), f"copy the new picture to {picture}"


def test_faults_on_purpose(tmp_path: Path) -> None:
    assert followed(ROOT / "docs" / "how-to" / "faults-on-purpose.md", tmp_path) == 3


@pytest.fixture
def own_python(tmp_path: Path) -> str:
    """A Python of one's own, in which a package can be installed, with all that this one has."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "these.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return str(home / "bin" / "python")


def test_a_driver_is_added(tmp_path: Path, own_python: str) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    assert followed(ROOT / "docs" / "how-to" / "add-a-driver.md", folder, own_python) == 5


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a…\n", "a and more\n", True),
        ("a…\n", "a\nb\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("…\nd\n", "d\n", True),
    ],
)
def test_what_the_wildcard_stands_for(said: str, printed: str, same: bool) -> None:
    assert bool(pattern(said).fullmatch(printed)) is same
