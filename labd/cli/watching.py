"""`labd watch`: a lab on one page that stays up to date, over restarts of its daemon."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType
from typing import Annotated, Any, TypeAlias

import typer

from labd import clock
from labd.cli.connection import Client
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Lab, Socket

Json: TypeAlias = Mapping[str, Any]

PERIOD = 1.0  # s; between two looks at the daemon on a terminal
PERIOD_ELSEWHERE = 10.0  # s; where it is no terminal
ANSWER_LIMIT = 5.0  # s


def register(app: typer.Typer) -> None:
    """Adds the command to `labd`."""
    app.command()(watch)


def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one page and end.")] = False,
    every: Annotated[
        float | None,
        typer.Option(min=0.2, help="Seconds between two looks (default: 1; 10 where it is no terminal)."),
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
) -> None:
    """Watch the lab: what needs somebody on top, its runs and when they end, its queue, its devices. q ends it.

    Where standard output is no terminal, a page is printed every 10 s.
    """
    watcher = Watcher(Client(socket, lab))
    watcher.look()  # before anything is shown: a lab that nobody runs is told as by every command
    if once:
        _print(watcher)
    elif sys.stdout.isatty():
        if os.environ.get("TERM") in (None, "", "dumb"):
            raise CliError("this terminal cannot be drawn over (TERM); `labd watch --once` prints one page", BAD_INPUT)
        _live(watcher, every or PERIOD)
    else:
        _pages(watcher, every or PERIOD_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last heard of a daemon.

    Args:
        status: of `/status`.
        queue: of `/queue`; None where the daemon has none.
        at: when that was heard, by this machine.
        silence: why it has not been heard since, or None.
    """

    status: Json
    queue: Json | None
    at: datetime
    silence: str | None = None


class Watcher:
    """Asks one daemon, in a thread of its own where it is followed, so that keys are heard while it does not answer."""

    def __init__(self, client: Client) -> None:
        self.seen: Seen
        self._client = client
        self._told, self._hears = os.pipe()  # a byte for each look, so that who draws can wait for it
        self._stopped = threading.Event()

    def look(self) -> None:
        """Raises CliError: it does not answer."""
        status = self._client.get("/status", limit=ANSWER_LIMIT)
        self.seen = Seen(status, self._queue(), clock.now())

    def _queue(self) -> Json | None:
        try:
            found: Json = self._client.get("/queue", limit=ANSWER_LIMIT)
        except CliError as error:
            if error.status == BAD_INPUT:  # a daemon that has no queue
                return None
            raise
        return found

    def look_again(self) -> None:
        """As `look`; that it does not answer is a part of what was seen."""
        try:
            self.look()
        except CliError as error:
            self.seen = replace(self.seen, silence=_in_short(error))
        except Exception as error:  # noqa: BLE001 - another version's answer, half an answer: shown, and asked again
            self.seen = replace(self.seen, silence=f"its answer cannot be read: {error!r}")

    @contextlib.contextmanager
    def following(self, period: float) -> Iterator[int]:
        """Looks again and again for as long as the block lasts; gives what becomes readable after each look."""

        def follow() -> None:
            while not self._stopped.wait(period):
                self.look_again()
                self.wake()

        thread = threading.Thread(target=follow, daemon=True, name="watcher")
        thread.start()
        try:
            yield self._told
        finally:
            self._stopped.set()

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._hears, b".")


def _in_short(error: CliError) -> str:
    """One line of what `Client` says in several."""
    lines = str(error).splitlines()
    tried = [line.strip() for line in lines if line.startswith("  ")]
    return "; ".join(tried) or lines[0]


# ── where to ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _print(watcher: Watcher) -> None:
    from labd.cli.views import console
    from labd.cli.watch_page import page

    target = console()
    target.print(page(watcher.seen, target, clock.now()), soft_wrap=not target.is_terminal)


def _pages(watcher: Watcher, period: float) -> None:
    """A page after the other, for a log or a pipe."""
    try:
        _print(watcher)
        while not _stop_within(period):
            watcher.look_again()
            sys.stdout.write("\n")
            _print(watcher)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass


def _stop_within(seconds: float) -> bool:
    """Waits; True: nobody reads any more."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # only for errors
    return bool(pipe.poll(seconds * 1000))


def _live(watcher: Watcher, period: float) -> None:
    """Draws on the whole terminal until q, Ctrl-C or SIGTERM."""
    from rich.console import Console
    from rich.live import Live

    from labd.cli.watch_page import page

    console = Console(markup=False, highlight=False, emoji=False)
    with contextlib.suppress(KeyboardInterrupt), watcher.following(period) as told, _signals(watcher), _keys() as keys:
        live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        with live:
            while True:
                live.update(page(watcher.seen, console, clock.now(), console.height), refresh=True)
                ready, _, _ = select.select([told, *keys], [], [], 1.0)
                if told in ready:
                    os.read(told, 4096)
                if any(_ends(os.read(key, 64)) for key in keys if key in ready):
                    return


def _ends(typed: bytes) -> bool:
    """Whether q, Ctrl-D or Escape was typed, or nothing can be typed any more."""
    return typed[:1] in (b"", b"q", b"Q", b"\x04") or typed == b"\x1b"


@contextlib.contextmanager
def _signals(watcher: Watcher) -> Iterator[None]:
    """A terminal of another size is drawn at once; SIGTERM leaves it as it was found."""

    def resized(_: int, __: FrameType | None) -> None:
        watcher.wake()

    def ended(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    acts = {signal.SIGWINCH: resized, signal.SIGTERM: ended, signal.SIGHUP: ended}
    before = {number: signal.signal(number, act) for number, act in acts.items()}
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


@contextlib.contextmanager
def _keys() -> Iterator[list[int]]:
    """What can be read for keys, each as it is typed; nothing where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield []
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield [descriptor]
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
