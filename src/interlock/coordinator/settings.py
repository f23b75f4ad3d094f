"""How a coordinator runs."""

from dataclasses import dataclass, field
from pathlib import Path

from interlock.coordinator.watched import Patience
from interlock.coordinator.writer import SETS_MAX
from interlock.model.retention import Retention


@dataclass(frozen=True)
class Settings:
    """How a coordinator runs; the defaults are right for a service."""

    workers: int = 2
    #: change sets per transaction; 1 commits each run by itself, which makes runs comparable in tests
    sets_max: int = SETS_MAX
    patience: Patience = field(default_factory=Patience)
    #: the folder with ca.pem, cert.pem and key.pem by which hosts know this coordinator; None = no TLS hosts
    tls_dir: Path | None = None
    #: whether hosts on loopback may be reached without TLS
    plain_hosts: bool = False
    #: how long ended jobs are kept, and the folder in which they are archived before they go
    retention: Retention = field(default_factory=Retention)
    archive_dir: Path | None = None
    #: the file with the key that seals secrets, made where there is none; None = where the database says
    key_file: Path | None = None
