from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.journal import Journal
from labd.lab.bus import Bus


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(tmp_path / "journal.db")
    yield journal
    await journal.close()
