"""Sizes in lab.yaml: `disk: {hold_below: 200 MB}`."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.files import InputErrors
from labd.lab.config import load_lab
from labd.lab.sizes import size_text

LAB = "labd: 1\nlab: bench\nstore: store\ndevices: {}\n"


def hold_below(folder: Path, text: str) -> int:
    path = folder / "lab.yaml"
    path.write_text(f"{LAB}disk: {{hold_below: {text}}}\n")
    return load_lab(path).disk.hold_below


def test_without_a_word_it_is_200_mb(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    assert load_lab(tmp_path / "lab.yaml").disk.hold_below == 200_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 GB", 10**9), ("1.5GB", 1_500_000_000), ("64 MiB", 64 * 2**20), ("32000 kB", 32_000_000), ("2 TB", 2 * 10**12)],
)
def test_sizes_are_read_with_their_unit(tmp_path: Path, text: str, expected: int) -> None:
    assert hold_below(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("200", "L105", "write `200 MB`"),
        ("200 mb", "L105", "is no size"),
        ("200 Mbit", "L105", "there are kB, MB, GB"),
        ("lots", "L105", "is no size"),
        ("-1 GB", "L105", "is no size"),
        ("[1]", "L103", "a size belongs here"),
        ("31 MB", "L104", "is below the least, 32 MB"),
    ],
)
def test_what_is_no_size_is_told_with_its_place(tmp_path: Path, text: str, code: str, words: str) -> None:
    with pytest.raises(InputErrors) as refused:
        hold_below(tmp_path, text)
    (problem,) = refused.value.problems
    assert problem.code == code
    assert words in problem.render()
    assert ":5:" in problem.where


def test_sizes_are_told_short() -> None:
    assert [size_text(count) for count in (10, 220e6, 1.5e9, 78.2e9, 2e12)] == [
        "0.01 kB",
        "220 MB",
        "1.5 GB",
        "78.2 GB",
        "2 TB",
    ]
