"""What the rolling change is about: a fleet, and the servers in it."""

from enum import StrEnum
from pathlib import PurePath

from interlock import Entity, Ref


class Fleet(Entity, type="fleet"):
    """Servers with one task. Its folder has `servers`, `releases`, `mirrors`, `notices` and the file `balancer`."""

    folder: str

    @property
    def balancer(self) -> str:
        """The file that lists who gets traffic."""
        return f"{self.folder}/balancer"

    @property
    def releases(self) -> str:
        """The folder of all releases that servers may show."""
        return f"{self.folder}/releases"


class ServerStatus(StrEnum):
    """Whether a server gets traffic."""

    #: it is in the balancer
    IN_USE = "IN_USE"
    #: it has been taken out
    OUT = "OUT"


class Server(Entity, type="server"):
    """One server of a fleet, and the release that it shows."""

    fleet: Ref[Fleet]
    folder: str
    release: str
    status: ServerStatus = ServerStatus.IN_USE

    @property
    def label(self) -> str:
        """What the balancer calls it."""
        return PurePath(self.folder).name
