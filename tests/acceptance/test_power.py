"""Power cuts on a file system that keeps only what was synced: nothing that the journal acknowledged is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.faults.fuse import PAGE, Unsynced, mounted
from benchmarks.faults.mounts import MountRefusedError
from benchmarks.faults.power import cuts


@pytest.fixture
def fuse(tmp_path: Path) -> None:
    try:
        with mounted(tmp_path, Unsynced({})):
            pass
    except MountRefusedError as error:
        pytest.skip(f"FUSE cannot be mounted: {error}")


def test_a_power_cut_loses_nothing_that_was_acknowledged(fuse: None) -> None:
    found = cuts(8)
    assert found.told == []
    assert (found.rounds, found.lost, found.broken) == (8, 0, 0)
    assert found.acknowledged > 8


def test_without_the_sync_it_would(fuse: None) -> None:
    """Else the disk that this is tried on would prove nothing."""
    found = cuts(3, synchronous="NORMAL", torn=False)
    assert found.acknowledged > 0
    assert found.lost > 0


def test_a_cut_leaves_what_was_synced_and_nothing_else() -> None:
    disk = Unsynced({"old": b"synced"})
    disk._files[2].write(0, b"S")
    disk._made("new").write(0, b"unsynced")
    assert disk.cut() == {"old": b"synced"}


def test_a_new_file_is_there_once_its_folder_is_synced_too() -> None:
    disk = Unsynced({})
    file = disk._made("new")
    file.write(0, b"content")
    disk._fsync(file.number, b"")
    file.write(7, b" and more")
    assert disk.cut() == {}
    disk._fsyncdir()
    assert disk.cut() == {"new": b"content"}


def test_a_torn_cut_leaves_whole_pages_of_what_was_not_synced() -> None:
    seen = set()
    for seed in range(50):
        disk = Unsynced({"file": b"a" * 3 * PAGE})
        disk._files[2].write(0, b"b" * 3 * PAGE)
        left = disk.cut(random.Random(seed))["file"]
        assert len(left) == 3 * PAGE
        pages = [left[at : at + PAGE] for at in range(0, 3 * PAGE, PAGE)]
        assert all(len(set(page)) == 1 for page in pages)
        seen.add(bytes(page[0] for page in pages))
    assert len(seen) > 4
