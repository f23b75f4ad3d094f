"""What a serving process is told: where its state is and what it may run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: the commands that come with Interlock
DEFAULT_CATALOG = "interlock.virt.catalog:CATALOG"


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """`state` is a folder of this server alone; `catalog` is written `module:name`.

    With `plain_hosts` hosts on loopback addresses may be reached without TLS.
    """

    state: Path
    catalog: str = DEFAULT_CATALOG
    plain_hosts: bool = False
    log_json: bool = False
    #: seconds between two looks at a host's tasks while they change
    poll_s: float = 1.0
    #: how many flows' writes share a transaction at most
    group_commit_max: int = 512
    #: for how many days ended jobs are kept: those that succeeded, all others, and those of a command
    keep_succeeded_days: float = 7.0
    keep_failed_days: float = 30.0
    keep_days: Mapping[str, float] = field(default_factory=dict)
    #: the folder in which jobs are archived before they go
    archive: Path | None = None
    #: the database's URL, which may have a password; None = the SQLite file `state.db` of the folder
    database_url: str | None = field(default=None, repr=False)

    @property
    def database(self) -> Path:
        """The SQLite file: the truth, unless `database_url` names another database."""
        return self.state / "state.db"

    @property
    def key(self) -> Path:
        """What seals secrets in the database."""
        return self.state / "state.db.key"

    @property
    def pki(self) -> Path:
        """The folder of this server's certificate authority."""
        return self.state / "pki"

    @property
    def socket(self) -> Path:
        """The Unix socket on which the API answers."""
        return self.state / "interlock.sock"
