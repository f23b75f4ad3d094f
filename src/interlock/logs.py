"""Structured logs: events in past tense, one JSON or console line each, on standard error."""

import logging
import sys

import structlog


def configure(*, json_lines: bool, level: int = logging.INFO) -> None:
    """Sets up logging for a process; called once, by its composition root."""
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if json_lines
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is at the time of each line
        cache_logger_on_first_use=False,
    )


def quiet_unless_configured() -> None:
    """For a library's users: warnings and errors only, without the values of local variables (which may be
    secret), unless they have configured structlog themselves."""
    if not structlog.is_configured():
        configure(json_lines=False, level=logging.WARNING)
