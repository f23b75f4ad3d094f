"""What a service manager is told: that the agent is ready, and that it ends (systemd's `Type=notify`)."""

from __future__ import annotations

import os
import socket

import structlog

log = structlog.get_logger()


def tell(state: str) -> None:
    """Sends `state`, as "READY=1", to where NOTIFY_SOCKET says; nobody is told where it says nothing.

    A manager that cannot be reached is logged: it is for the manager to draw its conclusions.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # a name in the kernel's abstract space
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            sending.sendto(state.encode(), address)
    except OSError as error:
        log.warning("manager_not_told", state=state, reason=str(error))
