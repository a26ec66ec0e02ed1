"""Every error as one body: `{"error": {"code", "message", "problems": [...]}}`, with a fitting status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from labd.api.models import ErrorDetail, ErrorModel
from labd.campaign.engine import UnknownCampaignError
from labd.campaign.problem import CampaignError
from labd.lab.interlocks import GuardError, UnknownNameError
from labd.lab.inventory import StockError, UnknownPlaceError
from labd.lab.samples import SampleError, UnknownSampleError
from labd.protocol import InputErrors
from labd.records import ExportError
from labd.records.drawing import PlotError
from labd.records.errors import CrateError
from labd.run.engine import EngineError, UnknownRunError
from labd.run.lifecycle import CommandRefusedError
from labd.run.orders import OrderRefusedError
from labd.run.queue import UnknownJobError

log = structlog.get_logger(__name__)


class UnknownDeviceError(Exception):
    """There is no such device."""


class RefusedError(Exception):
    """A request that is understood and not carried out; `status` is HTTP's, `code` for programs."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def problem_response(status: int, code: str, message: str, problems: Sequence[dict[str, Any]] = ()) -> JSONResponse:
    """The one shape of all errors."""
    body = ErrorModel(error=ErrorDetail(code=code, message=message, problems=list(problems)))
    return JSONResponse(body.model_dump(mode="json"), status)


_PLAIN: dict[type[Exception], tuple[int, str]] = {
    UnknownRunError: (404, "unknown_run"),
    UnknownDeviceError: (404, "unknown_device"),
    UnknownJobError: (404, "unknown_job"),
    UnknownCampaignError: (404, "unknown_campaign"),
    CampaignError: (409, "refused"),
    CommandRefusedError: (409, "refused"),
    EngineError: (409, "refused"),
    ExportError: (409, "refused"),
    CrateError: (409, "refused"),
    PlotError: (409, "refused"),
    UnknownNameError: (404, "unknown_name"),
    GuardError: (409, "refused"),
    OrderRefusedError: (422, "invalid_order"),
    UnknownSampleError: (404, "unknown_sample"),
    SampleError: (409, "refused"),
    UnknownPlaceError: (404, "unknown_place"),
    StockError: (422, "invalid_stock"),
}


async def _plain(_: Request, error: Exception) -> JSONResponse:
    status, code = next(_PLAIN[kind] for kind in type(error).__mro__ if kind in _PLAIN)
    return problem_response(status, code, str(error))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return problem_response(error.status, error.code, str(error))


async def _bad_protocol(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InputErrors)
    return problem_response(422, "invalid_protocol", str(error), [problem.as_json() for problem in error.problems])


async def _bad_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"where": ".".join(str(step) for step in item["loc"]), "message": item["msg"]} for item in error.errors()
    ]
    told = "; ".join(f"{item['where']}: {item['message']}" for item in problems)
    return problem_response(422, "invalid_request", told, problems)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed", 400: "invalid_request"}
    response = problem_response(error.status_code, codes.get(error.status_code, "refused"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", path=request.url.path, exc_info=error)
    return problem_response(500, "internal", f"labd failed: {error!r}; its log says where")


def handle_errors(app: FastAPI) -> None:
    """Gives an app these bodies for everything that may go wrong in it."""
    for kind in _PLAIN:
        app.add_exception_handler(kind, _plain)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(InputErrors, _bad_protocol)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
