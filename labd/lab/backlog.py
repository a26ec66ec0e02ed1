"""What may wait for the lab's broker while it is away."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from labd.lab.sizes import Size
from labd.lab.written import CENTURY, Part, Written


class Backlog(Part):
    """What may wait for a broker that is away. It stands in the journal in any case; this bounds what is still sent."""

    size: Annotated[
        int,
        Size(least=1_000_000),
        Field(
            description="Of the events that wait, in the journal; beyond it the oldest are not sent any more.",
            json_schema_extra={"default": "1 GB"},
        ),
    ] = 1_000_000_000
    age: Annotated[
        float,
        Written("s", least=3600, most=CENTURY),
        Field(description="Events that wait for longer are not sent any more.", json_schema_extra={"default": "30 d"}),
    ] = 2_592_000.0
