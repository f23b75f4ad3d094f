"""The outermost layer: a correlation id on every request and answer, and no error that escapes."""

import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.ids import new_id
from interlock.rest import errors
from interlock.rest.bodies import CORRELATION_ID

HEADER = "Correlation-Id"
_FORM = re.compile(CORRELATION_ID)
_log = structlog.get_logger()


class Correlation:
    """Takes `Correlation-Id` from the request or makes one; it is in `request.state` and in the answer.

    An endpoint may change `request.state.correlation_id`. What fails unexpectedly is logged with its stack,
    and answered without.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER)
        valid = given is None or _FORM.fullmatch(given) is not None
        state = scope.setdefault("state", {})
        state["correlation_id"] = given if given is not None and valid else str(new_id())
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = state["correlation_id"]
            await send(message)

        if not valid:
            wrong = errors.answer(422, "invalid_input", [f"{HEADER}: 1 to 50 of 0-9 A-Z a-z _ -"])
            await wrong(scope, receive, send_with_id)
            return
        with structlog.contextvars.bound_contextvars(correlation_id=state["correlation_id"]):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:  # the last resort: logged whole, told in one line
                _log.exception("request_failed", method=scope["method"], path=scope["path"])
                if not started:
                    await errors.internal()(scope, receive, send_with_id)
