"""What lab.yaml says of a robot."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from labd.io.http import checked_address
from labd.sdk import Settings


class OpentronsSettings(Settings):
    """Where the robot is, and what it carries.

    Args:
        address: `http://host:31950`.
        pipettes: names by mount, checked against what is attached; empty: whatever is attached.
    """

    address: str
    pipettes: dict[Literal["left", "right"], str] = {}

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        return checked_address(text)
