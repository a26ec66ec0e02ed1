"""Other people's clients from npm, in `tests/strangers`; a test of one is skipped where it is not installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "strangers"


async def node(package: str, script: str, *arguments: str) -> str:
    """What a script of that folder says; it uses a package."""
    if shutil.which("node") is None or not (FOLDER / "node_modules" / package).is_dir():
        pytest.skip(f"{package} is not installed: `make strangers` fetches it (node, npm)")
    with tempfile.TemporaryDirectory() as home:  # where a client keeps what it makes for itself: keys, certificates
        process = await asyncio.create_subprocess_exec(
            "node",
            script,
            *arguments,
            cwd=FOLDER,
            env={**os.environ, "XDG_CONFIG_HOME": home},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()
