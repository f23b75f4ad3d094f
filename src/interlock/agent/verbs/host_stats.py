"""Host.getStats: how the host does, read from the kernel and the file systems at the moment of the question.

Numbers have the names, types and units that VDSM gives them: memory in MiB, room in bytes as strings. What would
take two looks (rates) or a VM is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.agent.journal.damage import Damage
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain, read_meta
from interlock.agent.tasks.steps import Host
from interlock.verbs import CAPABILITY, Code

Told = dict[str, Any]  # Any: JSON values

_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """What only the agent knows of itself."""

    #: Tasks that were not cleared, and those among them that are not done.
    tasks: int
    unfinished: int
    journal_bytes: int
    running_s: int
    #: What was lost when the journal's incarnation began.
    damage: Damage | None


def host_stats(host: Host, agent: AgentFigures, *, is_stock: bool) -> Told:
    """The answer. It waits for disks. Raises OSError."""
    told = {
        **_memory(),
        "cpuLoad": f"{os.getloadavg()[0]:.2f}",
        "bootTime": _boot_time_s(),
        "dateTime": time.strftime("%Y-%m-%dT%H:%M:%S GMT", time.gmtime()),
        "elapsedTime": str(agent.running_s),
        "vmCount": 0,
        "vmActive": 0,
        "vmMigrating": 0,
        "storageDomains": _storage_domains(host),
    }
    ours = {
        "tasks": agent.tasks,
        "unfinished": agent.unfinished,
        "journalBytes": agent.journal_bytes,
        "journalDamage": _damage(agent.damage),
    }
    return told if is_stock else {**told, CAPABILITY: ours}


def _damage(damage: Damage | None) -> Told | None:
    if damage is None:
        return None
    return {
        "keptAs": damage.kept_as,
        "atByte": damage.at_byte,
        "tasksFailed": damage.failed_count,
        "formerIncarnation": damage.former_incarnation,
    }


def _memory() -> Told:
    kib = {
        name: int(rest.split()[0])
        for name, rest in (line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    }
    return {
        "memUsed": str(100 - 100 * kib["MemAvailable"] // kib["MemTotal"]),
        "memAvailable": kib["MemAvailable"] // _KIB_PER_MIB,
        "memFree": kib["MemFree"] // _KIB_PER_MIB,
        "swapTotal": kib["SwapTotal"] // _KIB_PER_MIB,
        "swapFree": kib["SwapFree"] // _KIB_PER_MIB,
    }


def _boot_time_s() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))


def _storage_domains(host: Host) -> Mapping[str, Told]:
    return {domain.path.name: _storage_domain(host, domain) for domain in host.domains.all()}


def _storage_domain(host: Host, domain: Domain) -> Told:
    """`delay` is how long reading the domain's description took; the code says why it is not valid."""
    began = time.monotonic()
    told: Told = {"code": 0, "valid": True, "version": -1, "lastCheck": "0.0"}
    try:
        told["version"] = int(read_meta(domain.metadata_path).get("VERSION", "-1"))
        told["delay"] = f"{time.monotonic() - began:.6f}"
        room = os.statvfs(domain.path)
        told["disktotal"], told["diskfree"] = str(room.f_blocks * room.f_frsize), str(room.f_bavail * room.f_frsize)
        host.domains.usable(domain.path.name)
    except StepFailed as failed:
        told |= {"code": failed.failure.code, "valid": False}
    except (OSError, ValueError):
        told |= {"code": int(Code.GENERAL), "valid": False}
    return told
