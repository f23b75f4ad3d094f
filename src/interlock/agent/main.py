"""The agent's command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from interlock import logs
from interlock.agent.config import AgentConfig, BadConfig
from interlock.agent.durable import FsyncFailed
from interlock.agent.journal_format import JournalDamaged
from interlock.agent.server import run
from interlock.wire.server import PlainRefused


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m interlock.agent",
        description="Runs the host agent: it makes, copies and removes disk images for a coordinator.",
    )
    parser.add_argument("--name", required=True, help="the host's name")
    parser.add_argument("--state-dir", required=True, type=Path, help="folder of the journal; one per agent")
    parser.add_argument(
        "--storage-root",
        required=True,
        action="append",
        type=Path,
        help="a folder in which storage domains may lie; may be given several times",
    )
    parser.add_argument("--listen-host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--listen-port", default=54321, type=int, help="port (%(default)s); 0 for any: see <state-dir>/port"
    )
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--tls-dir", type=Path, help="folder with ca.pem, cert.pem and key.pem")
    transport.add_argument("--plain", action="store_true", help="no TLS; only on a loopback address")
    parser.add_argument("--stock", action="store_true", help="behave as a VDSM host without the extension")
    parser.add_argument(
        "--copy-rate-bytes-per-s", type=int, metavar="N", help="slow every copy down to N bytes per second"
    )
    parser.add_argument("--workers", default=4, type=int, help="tasks at work at once (%(default)s)")
    parser.add_argument("--qemu-img", default="qemu-img", help="the program to use (%(default)s)")
    parser.add_argument("--json-logs", action="store_true", help="log one JSON object per line")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the agent; returns the exit status."""
    given = _parser().parse_args(arguments)
    logs.configure(json_lines=given.json_logs)
    try:
        config = AgentConfig(
            name=given.name,
            listen_host=given.listen_host,
            listen_port=given.listen_port,
            state_dir=given.state_dir,
            storage_roots=tuple(given.storage_root),
            tls_dir=given.tls_dir,
            stock=given.stock,
            copy_rate_bytes_per_s=given.copy_rate_bytes_per_s,
            workers=given.workers,
            qemu_img=given.qemu_img,
        )
        asyncio.run(run(config))
    except (BadConfig, FsyncFailed, JournalDamaged, PlainRefused, OSError) as error:
        sys.stderr.write(f"interlock agent: {error}\n")
        return 1
    return 0
