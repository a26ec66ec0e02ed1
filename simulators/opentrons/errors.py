"""The robot server's errors: those of HTTP, and those that a failed command carries."""

from __future__ import annotations

from typing import Any

from simulators._kit.http import Reply


class Refusal(Exception):
    """An HTTP answer that is an error.

    Args:
        status: HTTP's.
        id, title, detail, code: as the server words them.
        more: further fields of the error: `meta`, `source`.
    """

    def __init__(self, status: int, id: str, title: str, detail: str, code: str = "4000", **more: Any) -> None:  # noqa: A002 - the field's name
        super().__init__(detail)
        self.status = status
        self.content = {"id": id, "title": title, "detail": detail, **more, "errorCode": code}

    @property
    def reply(self) -> Reply:
        """It as an answer."""
        return Reply(self.status, {"errors": [self.content]})


class CommandFailed(Exception):
    """A command that was taken and failed: HTTP has nothing to do with it.

    Args:
        kind: `errorType`.
        detail: for people.
        code: the vendor's error code; 4000 is its general one.
        defined: whether the vendor documents it as recoverable.
        info: `errorInfo`.
    """

    def __init__(
        self, kind: str, detail: str, code: str = "4000", *, defined: bool = False, info: dict[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.code = code
        self.defined = defined
        self.info = info or {}

    def occurrence(self, id: str, at: str) -> dict[str, Any]:  # noqa: A002 - the field's name
        """It as it stands in a command's `error`."""
        return {
            "id": id,
            "createdAt": at,
            "isDefined": self.defined,
            "errorType": self.kind,
            "errorCode": self.code,
            "detail": self.detail,
            "errorInfo": self.info,
            "wrappedErrors": [],
        }


def python_error(kind: str, argument: str) -> CommandFailed:
    """What an exception that the server did not foresee looks like."""
    text = repr(argument) if kind == "KeyError" else argument
    return CommandFailed("PythonException", f"{kind}: {text}", info={"args": f"({argument!r},)", "class": kind})


def run_not_found(run_id: str) -> Refusal:
    """404."""
    detail = f"Error 4000 GENERAL_ERROR (RunNotFoundError): Run {run_id} was not found."
    return Refusal(404, "RunNotFound", "Run Not Found", detail)


def run_stopped(detail: str = "The run has already stopped.") -> Refusal:
    """409: nothing can be added to it."""
    meta = {"type": "RunStoppedError", "code": "4000", "message": detail, "detail": {}, "wrapping": []}
    return Refusal(409, "RunStopped", "Run Stopped", detail, meta=meta)


def action_not_allowed(kind: str, detail: str) -> Refusal:
    """409: an action that the run's state does not allow."""
    wrapped = {"type": kind, "code": "4000", "message": detail, "detail": {}, "wrapping": []}
    meta = {"type": "RunActionNotAllowedError", "code": "3000", "message": detail, "detail": {}, "wrapping": [wrapped]}
    return Refusal(409, "RunActionNotAllowed", "Run Action Not Allowed", detail, "3000", meta=meta)


def run_not_idle() -> Refusal:
    """409: it would be taken away while it works."""
    detail = (
        "Run is currently active. Allow the run to finish or"
        " stop it with a `stop` action before attempting to modify it."
    )
    return Refusal(409, "RunNotIdle", "Run is not idle.", detail, "4001")


def already_active() -> Refusal:
    """409: one run at a time."""
    return Refusal(409, "RunAlreadyActive", "Run Already Active", "Current run is not idle or stopped.", "4001")


def invalid(detail: str, **source: str) -> Refusal:
    """422: the request does not have the right form."""
    return Refusal(422, "InvalidRequest", "Invalid Request", detail, source=source)
