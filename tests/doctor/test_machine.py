"""What a doctor makes of the machine's clock, its unit, its disk and its ports."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from labd.doctor import disk, ports, worst
from labd.doctor.disk import examine_disk, file_system
from labd.doctor.finding import Finding
from labd.doctor.machine import Discipline, discipline, examine_clock, examine_limits, examine_service, seconds
from labd.doctor.ports import by_id, examine_port, may_open, port_of


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize(
    ("found", "level", "said"),
    [
        (Discipline(synchronised=True, error=0.012), "ok", "off by 12 ms at most"),
        (Discipline(synchronised=False, error=16.0), "warning", "not synchronised"),
        (Discipline(synchronised=True, error=2.5), "warning", "off by 2.5 s"),
        (None, "warning", "does not tell"),
    ],
)
def test_a_clock_that_nobody_keeps_is_told(found: Discipline | None, level: str, said: str) -> None:
    told = one(examine_clock(found))
    assert (told.level, bool(told.mend)) == (level, level != "ok")
    assert said in told.text


def test_the_kernel_is_asked_without_changing_anything() -> None:
    found = discipline()
    assert found is None or found.error >= 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1min 30s", 90.0), ("3min", 180.0), ("500ms", 0.5), ("0", None), ("infinity", None), ("", None), ("30s", 30.0)],
)
def test_systemds_times_are_read(text: str, wanted: float | None) -> None:
    assert seconds(text) == wanted


def test_a_unit_with_short_limits_that_has_failed_is_told_with_what_mends_it() -> None:
    said = {
        "LoadState": "loaded",
        "ActiveState": "failed",
        "Result": "exit-code",
        "NRestarts": "4",
        "UnitFileState": "disabled",
        "TimeoutStopUSec": "30s",
        "WatchdogUSec": "0us",
        "NeedDaemonReload": "yes",
    }
    found = examine_service(said)
    assert worst(found) == 2
    mends = " ".join(finding.mend for finding in found)
    for command in ("journalctl -u labd", "enable labd", "TimeoutStopSec=180", "WatchdogSec=30", "daemon-reload"):
        assert command in mends
    assert "restarted it 4 times" in " ".join(finding.text for finding in found)


def test_a_unit_as_it_ships_is_well_and_none_is_no_problem() -> None:
    said = {"LoadState": "loaded", "ActiveState": "active", "TimeoutStopUSec": "3min", "WatchdogUSec": "30s"}
    assert worst(examine_service(said)) == 0
    assert worst(examine_service({"LoadState": "not-found"})) == 0
    assert worst(examine_service(None)) == 0


def test_too_few_open_files_for_the_devices_are_told() -> None:
    assert one(examine_limits(10, files=1024)).level == "ok"
    told = one(examine_limits(200, files=1024))
    assert told.level == "warning"
    assert "LimitNOFILE=1856" in told.mend


# ── disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────
MOUNTS = "/dev/sda1 / ext4 rw,relatime 0 0\nnas:/lab {at} nfs4 rw 0 0\n"


def mounted(at: Path, kind: str, options: str = "rw") -> str:
    return f"/dev/sda1 / ext4 rw 0 0\nx {str(at).replace(' ', chr(92) + '040')} {kind} {options} 0 0\n"


@pytest.mark.parametrize(
    ("kind", "options", "level", "said"),
    [
        ("nfs4", "rw", "problem", "network file system (nfs4)"),
        ("ext4", "ro", "problem", "read-only"),
        ("tmpfs", "rw", "warning", "in memory"),
    ],
)
def test_a_disk_that_is_none_for_a_journal_is_told(
    tmp_path: Path, kind: str, options: str, level: str, said: str
) -> None:
    folder = tmp_path / "a store"
    folder.mkdir()
    found = examine_disk(folder, 1, mounted(folder, kind, options))
    told = found[0]
    assert (told.level, bool(told.mend)) == (level, True)
    assert said in told.text


def test_a_store_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path: Path) -> None:
    found = examine_disk(tmp_path / "not" / "yet", 1, mounted(tmp_path, "ext4"))
    assert worst(found) in (0, 1)  # a slow disk is a warning
    assert any("on the disk" in finding.text for finding in found)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path) -> None:
    free = disk.free_space(tmp_path)
    mounts = mounted(tmp_path, "ext4")
    assert examine_disk(tmp_path, 2 * free, mounts)[0].level == "problem"
    assert examine_disk(tmp_path, int(free / 1.5), mounts)[0].level == "warning"


def test_a_disk_that_does_not_take_a_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> float:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk, "_write_speed", refuse)
    told = examine_disk(tmp_path, 1, mounted(tmp_path, "ext4"))[-1]
    assert told.level == "problem"
    assert "Permission denied" in told.text
    monkeypatch.setattr(disk, "_write_speed", lambda _: 0.5)
    told = examine_disk(tmp_path, 1, mounted(tmp_path, "ext4"))[-1]
    assert (told.level, "500 ms" in told.text) == ("warning", True)


def test_the_nearest_mount_is_the_one_that_counts(tmp_path: Path) -> None:
    mounts = f"/dev/a / ext4 rw 0 0\n/dev/b {tmp_path} xfs ro 0 0\n/dev/c {tmp_path}/in btrfs rw 0 0\n"
    assert file_system(tmp_path / "in", mounts) == ("btrfs", frozenset({"rw"}))
    assert file_system(tmp_path / "other", mounts) == ("xfs", frozenset({"ro"}))


# ── ports ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"port": "/dev/ttyUSB0"}, "/dev/ttyUSB0"),
        ({"address": "serial:///dev/ttyS0?baudrate=9600"}, "/dev/ttyS0"),
        ({"address": "tcp://10.0.0.7:4001"}, None),
        ({"address": "http://10.0.0.7:31950"}, None),
        ({}, None),
    ],
)
def test_a_devices_port_is_found_in_its_settings(settings: dict[str, object], wanted: str | None) -> None:
    assert port_of(settings) == (Path(wanted) if wanted else None)


def test_a_port_that_is_not_there_and_a_file_are_told(tmp_path: Path) -> None:
    assert "is not there" in one(examine_port("bath", tmp_path / "no")).text
    (tmp_path / "file").write_text("")
    assert "is no port" in one(examine_port("bath", tmp_path / "file")).text


def test_a_port_that_another_program_has_is_told_with_its_name(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    try:
        assert one(examine_port("bath", Path(name))).level == "ok"
        script = f"f = open({name!r}, 'rb+', buffering=0); print('open', flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            told = one(examine_port("bath", Path(name)))
            assert told.level == "problem"
            assert f"pid {other.pid}" in told.text
            assert one(examine_port("bath", Path(name), [other.pid])).level == "ok"  # the lab's own daemon has it
            other.kill()
    finally:
        os.close(master)


def test_a_lock_file_of_a_living_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    port = Path(os.ttyname(slave))
    monkeypatch.setattr(ports, "FOLDER", tmp_path)
    lock = tmp_path / f"LCK..{port.name}"
    lock.write_text(f"{os.getppid():10d}\n")
    told = one(examine_port("bath", port))
    assert (told.level, str(lock) in told.text) == ("problem", True)
    lock.write_text("4194304999\n")  # of a process that has ended
    assert one(examine_port("bath", port)).level == "ok"
    os.close(master)
    os.close(slave)


def test_a_user_without_the_ports_group_is_told_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    port = Path(os.ttyname(slave))
    monkeypatch.setattr(ports, "may_open", lambda *_: False)
    monkeypatch.setattr(ports, "_group", lambda _: "dialout")
    told = one(examine_port("bath", port, user="labd"))
    assert told.mend == "sudo usermod -aG dialout labd, then log in again"
    monkeypatch.setattr(ports, "_group", lambda _: "root")
    assert "udev" in one(examine_port("bath", port, user="labd")).mend
    os.close(master)
    os.close(slave)


def test_who_may_open_a_port_is_told_by_its_mode(tmp_path: Path) -> None:
    port = tmp_path / "port"
    port.write_text("")
    assert may_open("root", port)
    assert not may_open("no-such-user", port)
    port.chmod(0o600)
    assert not may_open("nobody", port)
    port.chmod(0o666)
    assert may_open("nobody", port)


def test_the_name_that_stays_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ttyUSB0").write_text("")
    links = tmp_path / "by-id"
    links.mkdir()
    (links / "usb-FTDI_A9-if00").symlink_to(tmp_path / "ttyUSB0")
    monkeypatch.setattr(ports, "BY_ID", links)
    assert by_id(tmp_path / "ttyUSB0") == links / "usb-FTDI_A9-if00"
    assert by_id(tmp_path / "ttyUSB1") is None
