from __future__ import annotations

import pytest

from labd.sdk import Fault, OutcomeUnknown, each


async def test_one_that_fails_leaves_out_none_and_all_that_failed_is_told() -> None:
    heard: list[str] = []

    async def stop(unit: str) -> None:
        heard.append(unit)
        if unit != "2":
            raise {"1": OutcomeUnknown("1 still works", sent="stop"), "3": Fault("3 is on fire")}[unit]

    with pytest.raises(OutcomeUnknown, match="1 still works; 3 is on fire") as caught:
        await each(stop, ["1", "2", "3"])
    assert (heard, caught.value.sent) == (["1", "2", "3"], "stop")
    await each(stop, ["2"])
