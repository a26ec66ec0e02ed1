"""A file system that a power cut empties: a folder whose writes are in memory until `fsync` has reached them.

It speaks the kernel's FUSE protocol (linux/fuse.h, 7.31) over /dev/fuse itself, so nothing has to be installed; it
needs root, or `fusermount3`. One flat folder, as much as SQLite and a lock file need.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.mounts import MountRefusedError

PAGE = 4096  # bytes: what a disk writes whole or not at all
ROOT = 1
MAX_WRITE = 128 * 1024
_IN = struct.Struct("<IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
_OUT = struct.Struct("<IiQ")  # length, error, unique
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("<QQQQII")
_VALID = 3600  # s; nobody else changes the files
_SIZE_GIVEN = 1 << 3  # FATTR_SIZE
_BIG_WRITES = 1 << 5
_MNT_DETACH = 2

LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, RENAME, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 10, 12, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR = 18, 20, 25, 26, 27, 28, 29, 30
ACCESS, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, RENAME2 = 34, 35, 36, 38, 42, 45
SILENT = {FORGET, INTERRUPT, BATCH_FORGET}

Image = dict[str, bytes]
"""What is on a disk: content by name."""


@dataclass(slots=True)
class _File:
    """A file as programs see it, as it is on the disk, and the changes between the two in their order."""

    number: int
    seen: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # offset and content; size and None

    def write(self, offset: int, content: bytes) -> None:
        if len(self.seen) < offset:
            self.seen.extend(bytes(offset - len(self.seen)))
        self.seen[offset : offset + len(content)] = content
        self.pending.append((offset, content))

    def resize(self, size: int) -> None:
        del self.seen[size:]
        self.seen.extend(bytes(size - len(self.seen)))
        self.pending.append((size, None))

    def sync(self) -> None:
        self.durable = bytes(self.seen)
        self.pending.clear()

    def torn(self, dice: random.Random, share: float) -> bytes:
        """What is left when some pages of what was not synced had reached the disk, in any order."""
        left = _File(self.number, bytearray(self.durable))
        for offset, content in self.pending:
            if content is None:
                if dice.random() < share:
                    left.resize(offset)
                continue
            at = offset
            while at < offset + len(content):
                end = min(offset + len(content), (at // PAGE + 1) * PAGE)
                if dice.random() < share:
                    left.write(at, content[at - offset : end - offset])
                at = end
        return bytes(left.seen)


class Unsynced:
    """The file system, served by a thread of its own while it is mounted.

    Args:
        image: what is on its disk at first.
    """

    def __init__(self, image: Image) -> None:
        self._lock = threading.Lock()
        self._dark = False
        self._names: dict[str, _File] = {}
        self._files: dict[int, _File] = {}
        for name, content in image.items():
            self._made(name).write(0, content)
            self._names[name].sync()
        self._durable = dict(self._names)
        self.syncs = 0
        self._answers: dict[int, Callable[[int, bytes], bytes]] = {
            INIT: self._init,
            LOOKUP: self._lookup,
            GETATTR: lambda node, _: struct.pack("<QII", _VALID, 0, 0) + self._attr(node),
            SETATTR: self._setattr,
            UNLINK: self._unlink,
            RENAME: lambda _, body: self._rename(body[8:]),
            RENAME2: lambda _, body: self._rename(body[16:]),
            OPEN: lambda *_: bytes(16),
            OPENDIR: lambda *_: bytes(16),
            READ: self._read,
            WRITE: self._write,
            READDIR: self._readdir,
            CREATE: self._create,
            FSYNC: self._fsync,
            FSYNCDIR: self._fsyncdir,
            STATFS: lambda *_: struct.pack("<5Q4I6I", *[2**20] * 5, PAGE, 255, PAGE, *[0] * 7),
            **dict.fromkeys((RELEASE, FLUSH, RELEASEDIR, ACCESS, DESTROY), lambda *_: b""),
        }

    def cut(self, dice: random.Random | None = None) -> Image:
        """The power goes: gives what is on the disk. From now on nothing is answered but EIO.

        Args:
            dice: with them some of the pages and names that were not synced are there; without, none of them.
        """
        with self._lock:
            self._dark = True
            if dice is None:
                return {name: file.durable for name, file in self._durable.items()}
            share = dice.random()
            names = {
                name: self._names.get(name) if dice.random() < share else self._durable.get(name)
                for name in (*self._durable, *(self._names.keys() - self._durable.keys()))
            }
            return {name: file.torn(dice, share) for name, file in names.items() if file is not None}

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────
    def serve(self, device: int) -> None:
        """Answers the kernel until it is unmounted."""
        while True:
            try:
                request = os.read(device, MAX_WRITE + PAGE)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue  # a request that was called off meanwhile
                return
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            if opcode in SILENT:
                continue
            failed, answer = 0, b""
            try:
                answer = self._answer(opcode, node, request[_IN.size :])
            except OSError as error:
                failed = error.errno or errno.EIO
            with contextlib.suppress(OSError):  # nobody waits for it any more
                os.write(device, _OUT.pack(_OUT.size + len(answer), -failed, unique) + answer)

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        known = self._answers.get(opcode)
        if known is None:
            raise OSError(errno.ENOSYS, "not here")
        with self._lock:
            if self._dark and opcode not in (RELEASE, RELEASEDIR, DESTROY, INIT):
                raise OSError(errno.EIO, "no power")
            return known(node, body)

    def _init(self, _: int, body: bytes) -> bytes:
        (ahead,) = struct.unpack_from("<I", body, 8)
        return struct.pack("<4I2H2I2H8I", 7, 31, ahead, _BIG_WRITES, 12, 9, MAX_WRITE, 1, 0, 0, *[0] * 8)

    def _attr(self, node: int) -> bytes:
        size = 0 if node == ROOT else len(self._files[node].seen)
        mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
        blocks = -(-size // 512)
        return _ATTR.pack(node, size, blocks, *[0] * 6, mode, 1, os.getuid(), os.getgid(), 0, PAGE, 0)

    def _entry(self, file: _File) -> bytes:
        return _ENTRY.pack(file.number, 0, _VALID, _VALID, 0, 0) + self._attr(file.number)

    def _lookup(self, _: int, body: bytes) -> bytes:
        return self._entry(self._named(body))

    def _named(self, body: bytes) -> _File:
        file = self._names.get(_text(body))
        if file is None:
            raise OSError(errno.ENOENT, "no such file")
        return file

    def _made(self, name: str) -> _File:
        file = _File(ROOT + 1 + len(self._files))
        self._files[file.number] = self._names[name] = file
        return file

    def _create(self, _: int, body: bytes) -> bytes:
        return self._entry(self._made(_text(body[16:]))) + bytes(16)

    def _unlink(self, _: int, body: bytes) -> bytes:
        self._named(body)
        del self._names[_text(body)]
        return b""

    def _rename(self, names: bytes) -> bytes:
        before, after = names.rstrip(b"\0").split(b"\0")
        self._names[after.decode()] = self._named(before)
        del self._names[before.decode()]
        return b""

    def _setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        if valid & _SIZE_GIVEN:
            self._files[node].resize(size)
        return struct.pack("<QII", _VALID, 0, 0) + self._attr(node)

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(self._files[node].seen[offset : offset + size])

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        self._files[node].write(offset, body[40 : 40 + size])
        return struct.pack("<II", size, 0)

    def _readdir(self, _: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        found = b""
        for index, (name, file) in enumerate(self._names.items()):
            raw = name.encode()
            entry = struct.pack("<QQII", file.number, index + 1, len(raw), stat.S_IFREG >> 12) + raw
            entry += bytes(-len(entry) % 8)
            if index >= offset and len(found) + len(entry) <= size:
                found += entry
        return found

    def _fsync(self, node: int, _: bytes) -> bytes:
        self._files[node].sync()
        self.syncs += 1
        return b""

    def _fsyncdir(self, *_: object) -> bytes:
        self._durable = dict(self._names)
        return b""


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode()


# ── mounting ─────────────────────────────────────────────────────────────────────────────────────────────────────
@contextlib.contextmanager
def mounted(at: Path, served: Unsynced) -> Iterator[None]:
    """Mounts it on an empty folder for the time of the block. Raises MountRefusedError."""
    device, unmount = _mount(at)
    thread = threading.Thread(target=served.serve, args=(device,), name="fuse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        unmount()
        thread.join(5)
        os.close(device)


def _mount(at: Path) -> tuple[int, Callable[[], None]]:
    """The connection's descriptor, and what ends it."""
    if os.geteuid() == 0:
        return _mount_as_root(at)
    tool = shutil.which("fusermount3") or shutil.which("fusermount")
    if tool is None:
        raise MountRefusedError("FUSE needs root, or fusermount3 (Debian: fuse3)")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environment = {**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}
        command = [tool, "-o", f"fsname=labd-power,max_read={MAX_WRITE}", "--", str(at)]
        done = subprocess.run(
            command, env=environment, pass_fds=[theirs.fileno()], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MountRefusedError(done.stderr.strip() or "fusermount refused")
        _, descriptors, *_ = socket.recv_fds(ours, 1, 1)
    return descriptors[0], lambda: _call(tool, "-u", "-z", str(at))


def _call(*command: str) -> None:
    subprocess.run(command, check=True)


def _mount_as_root(at: Path) -> tuple[int, Callable[[], None]]:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        raise MountRefusedError(f"/dev/fuse cannot be opened: {error.strerror}") from error
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},max_read={MAX_WRITE}"
    if libc.mount(b"labd-power", os.fsencode(at), b"fuse", ctypes.c_ulong(0), options.encode()) != 0:
        os.close(device)
        raise MountRefusedError(f"mount: {os.strerror(ctypes.get_errno())}")
    return device, lambda: libc.umount2(os.fsencode(at), _MNT_DETACH)
