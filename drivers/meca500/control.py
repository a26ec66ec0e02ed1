"""The arm's connections: requests are matched with answers by code, motions with checkpoints by number."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from drivers.meca500 import codes
from drivers.meca500.codes import Message
from labd.io import LinkLost, StreamLink, failure
from labd.sdk import DeviceError, Fault, OutcomeUnknown, Unreachable

GREETING_LIMIT = 5.0  # s
CHECKPOINTS = 8000  # numbers that SetCheckpoint takes: 1 to 8000
_KEPT = 64  # motions that are remembered after their end


@dataclass(slots=True)
class Motion:
    """A block of motion that was sent, ended by a checkpoint."""

    action_id: str
    checkpoint: int
    over: asyncio.Event = field(default_factory=asyncio.Event)
    error: DeviceError | None = None  # why it did not come to its checkpoint

    @property
    def reached(self) -> bool:
        return self.over.is_set() and self.error is None

    async def wait(self, limit: float) -> bool:
        """Waits at most so many s for its end; False when it has not ended by then."""
        try:
            async with asyncio.timeout(limit):
                await self.over.wait()
        except TimeoutError:
            return False
        return True

    def end(self, error: DeviceError | None = None) -> None:
        if not self.over.is_set():
            self.error = error
            self.over.set()


@dataclass(slots=True)
class _Waiter:
    answers: frozenset[int]
    future: asyncio.Future[Message]


class Control:
    """The control connection: one task reads, and hands every message to whom it concerns.

    Args:
        link: to port 10000, not open.
        monitor: to port 10001, not open; events that tell of a stop are heard there too. None: not used.
    """

    def __init__(self, link: StreamLink, monitor: StreamLink | None) -> None:
        self._link = link
        self._monitor = monitor
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: list[_Waiter] = []
        self._motions: dict[str, Motion] = {}
        self._last_checkpoint = 0
        self._asking = asyncio.Lock()
        self._opening = asyncio.Lock()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def open(self) -> str:
        """Connects, and gives the text of the arm's greeting.

        Raises:
            Unreachable: no connection, another client has control, or something else listens there.
        """
        await self.close()
        await self._link.open()
        try:
            raw = await self._link.read_until(b"\0", GREETING_LIMIT)
        except TimeoutError as error:
            await self._link.close()
            raise Unreachable(f"{self._link.address}: no greeting; is this the arm's control port?") from error
        except LinkLost as error:
            await self._link.close()
            raise Unreachable(str(error)) from error
        greeting = Message.read(raw)
        if greeting is None or greeting.code != codes.CONNECTED:
            await self._link.close()
            if greeting is not None and greeting.code == codes.OTHER_CLIENT:
                raise Unreachable(
                    f"{self._link.address}: another client has control of the arm; close the web page or program "
                    "that is connected to it",
                    received=str(greeting),
                )
            raise Unreachable(
                f"{self._link.address}: no Meca500 answers there", received=raw.decode("ascii", "backslashreplace")
            )
        self._tasks.append(asyncio.create_task(self._read(self._link, self._on_control), name="meca500 control"))
        if self._monitor is not None:
            try:
                await self._monitor.open()
            except Unreachable:
                await self.close()
                raise
            self._tasks.append(asyncio.create_task(self._read(self._monitor, self._on_event), name="meca500 monitor"))
        return greeting.text

    async def close(self) -> None:
        """Disconnects; what waits for an answer learns that none will come. Never raises."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()
        if self._monitor is not None:
            await self._monitor.close()
        self._lost(LinkLost(f"{self._link.address} was closed"))

    async def _read(self, link: StreamLink, handle: Callable[[Message], None]) -> None:
        try:
            while True:
                message = Message.read(await link.read_until(b"\0"))
                if message is not None:  # what is no message is nobody's answer: whoever waits runs into its limit
                    handle(message)
        except LinkLost as error:
            if link is self._link:
                await link.close()
                self._lost(error)

    def _lost(self, error: LinkLost) -> None:
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)
        for motion in self._motions.values():
            motion.end(OutcomeUnknown(f"{error}; the motion may have gone on"))

    # ── what comes ───────────────────────────────────────────────────────────────────────────────────────────────
    def _on_control(self, message: Message) -> None:
        for waiter in self._waiters:
            if not waiter.future.done() and message.code in waiter.answers:
                waiter.future.set_result(message)
                break
        if message.code == codes.CHECKPOINT:
            self._end(message.numbers, None)
        elif message.code == codes.CHECKPOINT_DISCARDED:
            self._end(message.numbers, Fault("the motion was cleared before it was done", received=str(message)))
        elif message.code == codes.CLEARED:
            self._end_all(Fault("the motion was cleared before it was done", received=str(message)))
        elif message.code == codes.STATUS:
            status = codes.RobotStatus.read(message)
            if status is not None and status.error:
                self._end_all(Fault("the arm is in error; look at it, then run `home`", received=str(message)))
        else:
            self._on_event(message)

    def _on_event(self, message: Message) -> None:
        if not message.is_error or message.code in codes.BAD_COMMAND | {codes.NO_GRIPPER}:
            return
        # Also motors that are off: they were on when the block was sent, so some of its moves may have run.
        self._end_all(Fault(f"the arm stopped: {message}", received=str(message)))

    def _end(self, checkpoints: Iterable[int], error: DeviceError | None) -> None:
        for motion in self._motions.values():
            if motion.checkpoint in checkpoints:
                motion.end(error)

    def _end_all(self, error: DeviceError) -> None:
        for motion in self._motions.values():
            motion.end(error)

    # ── what goes ────────────────────────────────────────────────────────────────────────────────────────────────
    async def ask(
        self,
        command: str,
        answers: AbstractSet[int],
        limit: float,
        *,
        refusals: AbstractSet[int] = codes.REFUSALS,
        at_once: bool = False,
    ) -> Message:
        """Sends a request and gives its answer, or its refusal.

        Args:
            command: without its NUL.
            answers: codes that answer it.
            limit: s.
            refusals: error codes that are meant for it, and not for the motion under way.
            at_once: does not wait for its turn; for what stops the arm.

        Raises:
            Unreachable: nothing was sent.
            OutcomeUnknown: no answer.
        """
        turn = contextlib.nullcontext() if at_once else self._asking
        async with turn:
            await self._fresh()
            waiter = _Waiter(frozenset(answers | refusals), asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            sent = b""
            try:
                if self._link.is_open:
                    sent = command.encode() + b"\0"
                await self._link.write(command.encode() + b"\0")
                async with asyncio.timeout(limit):
                    return await waiter.future
            except TimeoutError as error:
                self._link.dirty = True
                raise failure(f"{self._link.address}: no answer within {limit:g} s", sent=sent) from error
            except LinkLost as error:
                raise failure(str(error), sent=sent) from error
            except asyncio.CancelledError:
                self._link.dirty = True  # its answer would be taken for that of the next request
                raise
            finally:
                self._waiters.remove(waiter)

    async def start(self, action_id: str, commands: Iterable[str]) -> Motion:
        """Sends a block of motion in one piece, ended by a checkpoint of its own.

        Raises:
            Unreachable: nothing was sent.
            OutcomeUnknown: some of it may have been.
        """
        async with self._asking:
            await self._fresh()
            self._last_checkpoint = self._last_checkpoint % CHECKPOINTS + 1
            motion = Motion(action_id, self._last_checkpoint)
            self._remember(motion)
            block = "".join(f"{command}\0" for command in [*commands, f"SetCheckpoint({motion.checkpoint})"]).encode()
            sent = block if self._link.is_open else b""
            try:
                await self._link.write(block)
            except (TimeoutError, LinkLost) as error:
                problem = failure(str(error) or f"{self._link.address}: the arm takes no commands", sent=sent)
                motion.end(problem)
                raise problem from error
            return motion

    def motion(self, action_id: str) -> Motion | None:
        """The last block that was sent for an action on any connection of this process, or None."""
        return self._motions.get(action_id)

    def _remember(self, motion: Motion) -> None:
        self._motions.pop(motion.action_id, None)
        self._motions[motion.action_id] = motion
        while len(self._motions) > _KEPT:
            oldest = next(iter(self._motions))
            self._motions.pop(oldest).end(OutcomeUnknown("too many motions since"))

    async def _fresh(self) -> None:
        """After a request that nobody answered: a new connection, to which no late answer can come."""
        async with self._opening:
            if self._link.dirty:
                await self.open()
