"""Errors as answers: `{"error": code, "reasons": […], "job_id": …, "column": …}`; never a stack trace."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from interlock.model.errors import (
    DatabaseLost,
    HostFailed,
    InterlockError,
    InvalidInput,
    KeyReused,
    Locked,
    Missing,
    NameTaken,
    NotAllowed,
    NotArchived,
    NotOwner,
    Refused,
)
from interlock.rest.bodies import TooLarge, TooSlow

#: status and code per kind of error; the nearest class counts
ANSWERS: dict[type[Exception], tuple[int, str]] = {
    InvalidInput: (422, "invalid_input"),
    Missing: (404, "missing"),
    NotAllowed: (403, "not_allowed"),
    KeyReused: (409, "key_reused"),
    Locked: (409, "locked"),
    NameTaken: (409, "name_taken"),
    TooLarge: (413, "too_large"),
    TooSlow: (408, "too_slow"),
    Refused: (409, "refused"),
    HostFailed: (502, "host_failed"),
    NotOwner: (503, "unavailable"),
    DatabaseLost: (503, "unavailable"),
    NotArchived: (503, "not_archived"),
}
_OF_STATUS = {404: "not_found", 405: "method_not_allowed"}


def install(app: FastAPI) -> None:
    """Makes the app answer all errors in this form."""
    app.add_exception_handler(InterlockError, _interlock_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)


def answer(
    status: int,
    code: str,
    reasons: Sequence[str],
    *,
    job_id: Any = None,
    column: int | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error's answer."""
    body: dict[str, Any] = {"error": code, "reasons": list(reasons)}
    if job_id is not None:
        body["job_id"] = str(job_id)
    if column is not None:
        body["column"] = column
    return JSONResponse(body, status, headers)


def refused(error: InterlockError, *, status: int | None = None) -> JSONResponse:
    """The answer for an error of ours; one that is nobody's fault but ours is raised again."""
    for kind in type(error).__mro__:
        if kind in ANSWERS:
            usual, code = ANSWERS[kind]
            reasons = error.reasons if isinstance(error, Refused) else [str(error)]
            place = getattr(error, "column", None)
            return answer(status or usual, code, reasons, job_id=getattr(error, "job_id", None), column=place)
    raise error


def internal() -> JSONResponse:
    """The answer when we broke."""
    reason = "the server failed on this request; its log has the reason under the answer's Correlation-Id"
    return answer(500, "internal", [reason])


async def _interlock_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InterlockError)
    return refused(error)


async def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    lines = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()]
    return answer(422, "invalid_input", lines)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code, "refused")
    headers = dict(error.headers) if error.headers else None
    return answer(error.status_code, code, [f"{request.method} {request.url.path}: {error.detail}"], headers=headers)
