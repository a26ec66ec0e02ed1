"""What becomes of actions: done, cancelled, their replies lost, their program killed."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from labd import clock
from labd.sdk import (
    Action,
    Call,
    DeviceError,
    Driver,
    Effect,
    Intent,
    Outcome,
    OutcomeUnknown,
    Parameters,
    Reading,
    Rejected,
    Result,
    Unreachable,
    Verdict,
)
from labd.testing.effects import Extent, change, extent
from labd.testing.stage import ENDS_WITHIN, POLL_LIMIT, SAFE_LIMIT, Stage, by_unit, stage, within
from labd.testing.subject import Subject
from labd.testing.wire import Weather

PLACES = 3  # in an action's exchange at which a reply is lost, and a program killed
SETTLING = 60.0  # s beyond its usual time after which nothing of an action goes on any more
WORTH_CANCELLING = 0.5  # s; what is shorter has no middle

_VARYING = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COUNT = re.compile(rb"^\W?\d+\W")  # a request's own number at its beginning, `#17 `
_OPC_UA = re.compile(rb"MSGF")  # OPC 10000-6, 7.1.2: a header of 24 bytes with counters, the service, its arguments
_OPC_UA_BODY = 40
_HTTP_READ = re.compile(rb"(GET|HEAD) ")


@dataclass(frozen=True)
class Plain:
    """An action as it goes when nothing disturbs it.

    Args:
        takes: seconds.
        effect: what it changes in the world.
        orders: what is sent once in it, and neither to read nor to connect.
    """

    takes: float
    effect: Mapping[str, float]
    orders: tuple[bytes, ...]


class Shown:
    """Whether what ONCE actions do can be seen at all: where it cannot, a clause about it would hold of anything."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._names: list[str] = []
        self._effects = 0

    def of(self, action: Action, plain: Plain) -> None:
        """Takes an action as it goes undisturbed. Raises AssertionError where no order of it was heard."""
        assert plain.orders, (
            f"{action.name} is a ONCE action, and no order of it was heard on the wire: all that it sends is sent to "
            "read, too, or stands in the simulator's `trial.reads`"
        )
        self._names.append(action.name)
        self._effects += bool(plain.effect)

    def judge(self) -> None:
        """Raises AssertionError where not one of them shows."""
        assert self._effects or not self._names, (
            f"what {', '.join(self._names)} does shows nowhere, so nobody could tell that it was done twice: "
            f"name numbers by which it is seen in `trial.effect` of the simulator of {self._subject}"
        )


async def every_action_can_be_done(subject: Subject, directory: Path) -> None:
    """One after another, each within its time limit, with a result of its model; then a poll is still answered."""
    async with stage(subject, directory) as bench:
        for action, parameters in subject.acts():
            try:
                await bench.act(action, parameters)
            except (DeviceError, TimeoutError) as error:
                raise AssertionError(
                    f"{action.name}: {error!r}; where it only comes too early or with other values, say so in the "
                    "simulator's `trial.acts`"
                ) from error
            await bench.poll()


async def a_cancelled_action_leaves_link_and_device_known(subject: Subject, directory: Path) -> None:
    """Cancelled in its middle: it ends, polls are answered, it can be made safe, and what is not running is refused."""
    for number, (action, parameters) in enumerate(subject.acts()):
        takes = (await _plain(subject, directory / f"{number}", number)).takes
        async with stage(subject, directory / f"{number}-idle") as bench:
            await _refuses_to_cancel_nothing(bench.driver)
        if takes < WORTH_CANCELLING:
            continue
        async with stage(subject, directory / f"{number}-cut") as bench:
            await bench.act_before(number)
            await _cancelled_by_runtime(bench, action, parameters, takes / 2)
        if action.cancellable:
            async with stage(subject, directory / f"{number}-cancel") as bench:
                await bench.act_before(number)
                await _cancelled_by_id(bench, action, parameters, takes / 2)


async def a_once_frame_goes_out_once_when_its_reply_is_lost(subject: Subject, directory: Path) -> None:
    """The reply to an order of a ONCE action is lost: the order is not sent again, and its effect not had twice."""
    seen = Shown(subject)
    for number, action, parameters in _once(subject):
        plain = await _plain(subject, directory / f"{number}", number)
        seen.of(action, plain)
        for place in _spread(len(plain.orders)):
            async with stage(subject, directory / f"{number}-{place}") as bench:
                await bench.act_before(number)
                await _reply_lost(bench, action, parameters, plain, place)
    seen.judge()


async def outcome_tells_done_from_not_done(subject: Subject, directory: Path) -> None:
    """After a kill at any order, `outcome` says done only where it was done, not done only where it was not.

    Where it says running, `attach` gives the result. Unknown is always allowed, and asks a person.
    """
    seen = Shown(subject)
    for number, action, parameters in _once(subject):
        plain = await _plain(subject, directory / f"{number}", number)
        seen.of(action, plain)
        for place in _spread(len(plain.orders)):
            for arrives in (False, True):
                later = (plain.takes + SETTLING) * (place % 2)
                async with stage(subject, directory / f"{number}-{place}-{arrives:d}") as bench:
                    await bench.act_before(number)
                    await _killed(bench, action, parameters, plain, place, arrives=arrives, later=later)
    seen.judge()


def _once(subject: Subject) -> Iterator[tuple[int, Action, Parameters]]:
    for number, (action, parameters) in enumerate(subject.acts()):
        if action.effect is Effect.ONCE:
            yield number, action, parameters


def _spread(count: int) -> list[int]:
    """The first, the last, and some between."""
    if count <= PLACES:
        return list(range(count))
    return sorted({round(index * (count - 1) / (PLACES - 1)) for index in range(PLACES)})


# ── undisturbed ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def _plain(subject: Subject, directory: Path, number: int) -> Plain:
    """The act of this number on a fresh bench, after those before it."""
    action, parameters = subject.acts()[number]
    async with stage(subject, directory) as bench:
        await bench.act_before(number)
        await bench.poll()
        if number == 0:  # later the world is as the acts before left it
            await within(SAFE_LIMIT, bench.driver.safe_state(), "safe_state")
        other = {_constant(piece) for piece in bench.wire.sent}
        intent = await bench.intend(action, parameters)
        await bench.poll()
        before, sent, began = bench.seen(), len(bench.wire.sent), clock.monotonic()
        other |= {_constant(piece) for piece in bench.wire.sent}
        await within(action.time_limit(parameters), bench.order(intent), action.name)
        takes = clock.monotonic() - began
        mine = [_constant(piece) for piece in bench.wire.sent[sent:]]
        effect = change(before, bench.seen())
        outcome = await within(POLL_LIMIT, bench.driver.outcome(intent), "outcome")
        assert outcome.verdict in {Verdict.DONE, Verdict.UNKNOWN}, (
            f"{action.name} was done, and its outcome is {outcome.verdict}: {outcome.why}"
        )
        if outcome.verdict is Verdict.DONE and outcome.result is not None:
            assert isinstance(outcome.result, action.result), f"outcome gave a {type(outcome.result).__name__}"
    reads = subject.trial.reads
    once = [piece for piece in mine if mine.count(piece) == 1 and piece not in other and not _only_reads(piece)]
    return Plain(takes, effect, tuple(piece for piece in once if not any(read in piece for read in reads)))


def _constant(piece: bytes) -> bytes:
    """A piece without what is another each time: the transaction of Modbus TCP, a count, the ids of a server."""
    if _is_modbus_tcp(piece):
        return piece[2:]
    if _OPC_UA.match(piece):
        return piece[:4] + piece[24:28] + piece[-_OPC_UA_BODY:]
    return _VARYING.sub(b"*", _COUNT.sub(b"*", piece))


def _is_modbus_tcp(piece: bytes) -> bool:
    return len(piece) >= 8 and piece[2:4] == b"\0\0" and int.from_bytes(piece[4:6], "big") == len(piece) - 6


def _only_reads(constant: bytes) -> bool:
    if constant[:2] == b"\0\0" and len(constant) > 5:
        return constant[5] in (1, 2, 3, 4)
    return bool(_HTTP_READ.match(constant))


# ── cancelled ────────────────────────────────────────────────────────────────────────────────────────────────────────
async def _refuses_to_cancel_nothing(driver: Driver) -> None:
    try:
        await within(SAFE_LIMIT, driver.cancel("run-0-000"), "cancel")
    except Rejected:
        return
    raise AssertionError("`cancel` of an action that does not run must be Rejected")


async def _cancelled_by_runtime(bench: Stage, action: Action, parameters: Parameters, after: float) -> None:
    """As an abort does: the driver's method is cancelled, then the device is made safe."""
    intent = await bench.intend(action, parameters)
    task = bench.order(intent)
    await asyncio.sleep(after)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=ENDS_WITHIN)
    assert done, f"{action.name} goes on {ENDS_WITHIN:g} s after it was cancelled"
    with contextlib.suppress(asyncio.CancelledError, DeviceError):
        await task
    await bench.recovered()
    await _made_safe(bench, action.name)
    outcome = await _asked(bench.driver, intent)
    assert outcome.verdict in Verdict, f"{action.name}: its outcome is {outcome.verdict!r}"
    await _at_rest(bench, action.name)


async def _made_safe(bench: Stage, what: str) -> None:
    """At once, or when the link was opened again."""
    trouble: Exception | None = None
    for _ in range(3):
        try:
            await within(SAFE_LIMIT, bench.driver.safe_state(), "safe_state")
        except (DeviceError, TimeoutError) as error:
            trouble = error
            await bench.recovered()
        else:
            return
    raise AssertionError(f"after {what} was cancelled it cannot be made safe: {trouble}")


async def _at_rest(bench: Stage, what: str) -> None:
    """What is not a number tells the same twice: nothing goes on by itself."""
    for _ in range(12):
        first = _states(await bench.recovered())
        await asyncio.sleep(5.0)
        second = _states(await bench.recovered())
        if first == second:
            return
    raise AssertionError(f"after {what} was cancelled and made safe, it goes on: {first}, then {second}")


def _states(reading: Reading) -> dict[tuple[str, str], object]:
    found: dict[tuple[str, str], object] = {}
    for unit, signals in by_unit(reading).items():
        found.update({(unit, name): value for name, value in signals if isinstance(value, (bool, str))})
    return found


async def _cancelled_by_id(bench: Stage, action: Action, parameters: Parameters, after: float) -> None:
    """As a stop does: the device ends it in order, and its method returns what there is."""
    intent = await bench.intend(action, parameters)
    task = bench.order(intent)
    await asyncio.sleep(after)
    await within(SAFE_LIMIT, bench.driver.cancel(intent.id), "cancel")
    result = await within(SETTLING, task, f"{action.name} after its cancel")
    assert isinstance(result, action.result), f"cancelled, {action.name} gave {type(result).__name__}"
    await bench.recovered()


# ── lost and killed ──────────────────────────────────────────────────────────────────────────────────────────────────
def _at(bench: Stage, order: bytes, happens: Callable[[], bool]) -> asyncio.Event:
    """Lets something happen when an order is on the wire; gives the event that it was."""
    came = asyncio.Event()

    def watch(piece: bytes) -> bool:
        if came.is_set() or _constant(piece) != order:
            return True
        came.set()
        return happens()

    bench.wire.watch = watch
    return came


async def _reply_lost(bench: Stage, action: Action, parameters: Parameters, plain: Plain, place: int) -> None:
    order = plain.orders[place]

    def lose() -> bool:
        bench.wire.weather = Weather.LOST
        return True

    intent = await bench.intend(action, parameters)
    before, sent = bench.seen(), len(bench.wire.sent)
    came = _at(bench, order, lose)
    error: Exception | None = None
    try:
        await within(action.time_limit(parameters), bench.order(intent), action.name)
    except (DeviceError, TimeoutError) as raised:
        error = raised
    if not came.is_set():  # it took another way this time
        return
    bench.wire.weather = Weather.SOUND
    times = [_constant(piece) for piece in bench.wire.sent[sent:]].count(order)
    assert times == 1, f"{action.name}: its reply was lost, and {_shown(order)} was sent {times} times"
    await asyncio.sleep(plain.takes + SETTLING)
    if not plain.effect:
        return
    made = extent(change(before, bench.seen()), plain.effect)
    told = f"{action.name}: the reply to {_shown(order)} was lost"
    assert made is not Extent.MORE, f"{told}, and its effect was had more than once"
    if error is None:
        assert made is Extent.FULL, f"{told}; it was called done, and its effect is {made}"
    elif isinstance(error, (Rejected, Unreachable)):
        assert made is Extent.NONE, f"{told}; it raised {error!r}, as if nothing had moved, and its effect is {made}"


async def _killed(
    bench: Stage, action: Action, parameters: Parameters, plain: Plain, place: int, *, arrives: bool, later: float
) -> None:
    """Its program dies when an order is on the wire; another one asks, now or later."""
    order = plain.orders[place]
    died = asyncio.Event()

    def die() -> bool:
        died.set()
        return arrives

    intent = await bench.intend(action, parameters)
    before = bench.seen()
    _at(bench, order, die)
    task = bench.order(intent)
    waiting = asyncio.ensure_future(died.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=action.time_limit(parameters))
    waiting.cancel()
    await asyncio.sleep(0.01 if arrives else 0)
    await bench.wire.cut()
    task.cancel()
    await asyncio.wait({task}, timeout=ENDS_WITHIN)
    if not task.cancelled():
        task.exception()
    if not died.is_set():  # it took another way this time
        return
    await asyncio.sleep(later)
    await bench.wire.mend()
    driver = await bench.again()
    outcome = await _asked(driver, intent)
    if outcome.verdict is Verdict.RUNNING:
        outcome = await _taken_up(driver, action, intent, outcome)
    await asyncio.sleep(plain.takes + SETTLING)
    if plain.effect:
        _judge(action, outcome, extent(change(before, bench.seen()), plain.effect), _shown(order), arrives=arrives)


async def _taken_up(driver: Driver, action: Action, intent: Intent, outcome: Outcome) -> Outcome:
    try:
        result: Result = await within(
            action.time_limit(intent.parameters), driver.attach(intent, Call(intent.id, intent.unit)), "attach"
        )
    except OutcomeUnknown:
        return Outcome(Verdict.UNKNOWN, "it could not be taken up")
    assert isinstance(result, action.result), f"attach gave {type(result).__name__}"
    return Outcome(Verdict.DONE, f"{outcome.why}; it was taken up to its end", result)


def _judge(action: Action, outcome: Outcome, made: Extent, order: str, *, arrives: bool) -> None:
    told = (
        f"{action.name}: killed at {order}, which {'arrived' if arrives else 'did not arrive'}; its effect is {made}, "
        f"and its outcome {outcome.verdict}: {outcome.why}"
    )
    assert made is not Extent.MORE, told
    match outcome.verdict:
        case Verdict.DONE:
            assert made is Extent.FULL, told
        case Verdict.NOT_DONE:
            assert made is Extent.NONE, told
        case Verdict.PARTIAL:
            assert made in {Extent.PART, Extent.NONE}, told


async def _asked(driver: Driver, intent: Intent) -> Outcome:
    try:
        return await within(POLL_LIMIT, driver.outcome(intent), "outcome")
    except DeviceError as error:
        return Outcome(Verdict.UNKNOWN, str(error))


def _shown(order: bytes) -> str:
    text = order.decode("ascii", "backslashreplace")
    return repr(text if len(text) <= 120 else f"{text[:60]}…{text[-60:]}")
