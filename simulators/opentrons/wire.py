"""Reading requests as the robot server reads them: header rules, bodies, commands; and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from simulators._kit.http import Reply, Request
from simulators.opentrons import commands as c
from simulators.opentrons.errors import Refusal, invalid

LEAST_API = 2
_LEGACY = ("/health", "/robot/lights", "/pipettes")


def version_refused(request: Request) -> Reply | None:
    """What a wrong `Opentrons-Version` gets; the older routes word it in their own way."""
    version = request.headers.get("opentrons-version")
    if version == "*":
        return None
    if version is not None and version.isdigit():
        if int(version) >= LEAST_API:
            return None
        detail = (
            f"The requested API version '{version}' is not supported. 'Opentrons-Version' must be at least"
            f" '{LEAST_API}'. Please upgrade your Opentrons App or other HTTP API client."
        )
        return Refusal(400, "OutdatedAPIVersion", "Requested HTTP API version no longer supported", detail).reply
    wrong = ["field required"]
    if version is not None:
        wrong = ["unexpected value; permitted: '*'", "value is not a valid integer"]
    if request.path.startswith(_LEGACY):
        message = "; ".join(f"header.opentrons-version: {one}" for one in wrong)
        return Reply(422, {"message": message, "errorCode": "4000"})
    errors = [invalid(one, header="opentrons-version").content for one in wrong]
    return Reply(422, {"errors": errors})


def body(request: Request) -> dict[str, Any]:
    """The request's JSON object; empty when there is none. Raises Refusal."""
    try:
        content = json.loads(request.body or b"{}")
    except ValueError as error:
        raise invalid(f"Expecting value: {error}", pointer="/") from error
    if not isinstance(content, dict):
        raise invalid("value is not a valid dict", pointer="/")
    return content


def data(request: Request) -> dict[str, Any]:
    """What stands under `data` in it. Raises Refusal."""
    content = body(request).get("data")
    if not isinstance(content, dict):
        raise invalid("field required", pointer="/data")
    return content


def command(content: dict[str, Any]) -> tuple[c.Create, BaseModel]:
    """A command to create, and its parameters with defaults. Raises Refusal."""
    if content.get("commandType") not in c.ALL:
        raise invalid(c.unknown(content.get("commandType")), pointer="/data")
    try:
        create = c.Create.model_validate(content)
    except ValidationError as error:
        raise _not_of_the_form(error, "/data") from error
    try:
        return create, c.parameters(create.command_type, create.params)
    except ValidationError as error:
        raise _not_of_the_form(error, "/data/params") from error


def _not_of_the_form(error: ValidationError, within: str) -> Refusal:
    first = error.errors()[0]
    pointer = "/".join([within, *(str(part) for part in first["loc"])])
    detail = first["msg"]
    return invalid(detail[0].lower() + detail[1:], pointer=pointer)


def number(request: Request, name: str, otherwise: int) -> int:
    """A number in the query. Raises Refusal."""
    text = request.query.get(name)
    if text is None:
        return otherwise
    try:
        return int(text)
    except ValueError as error:
        raise invalid("value is not a valid integer", parameter=name) from error


def milliseconds(request: Request) -> float | None:
    """The query's `timeout` in s; None: without end. Raises Refusal."""
    timeout = number(request, "timeout", -1)
    if "timeout" in request.query and timeout <= 0:
        raise invalid("ensure this value is greater than 0", parameter="timeout")
    return timeout / 1000 if timeout > 0 else None
