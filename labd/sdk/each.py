"""One thing done to several units, where the failure of one is no reason to leave out the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from labd.sdk.errors import DeviceError


async def each(act: Callable[[str], Awaitable[object]], units: Iterable[str]) -> None:
    """Does it to all units, one after another; for what makes safe.

    Raises:
        DeviceError: the first failure, with what the others say.
    """
    failures: list[DeviceError] = []
    for unit in units:
        try:
            await act(unit)
        except DeviceError as error:
            failures.append(error)
    if failures:
        first, *more = failures
        first.message = "; ".join(dict.fromkeys([first.message, *(one.message for one in more)]))
        raise first
