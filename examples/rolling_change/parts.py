"""The parts of a rolling change, each a command: what is done, what is written then, and how it is undone."""

from dataclasses import replace

from examples.rolling_change.entities import Fleet, Server, ServerStatus
from interlock import Command, Plan, Reader, Ref, Retry, Tx, local, part, sequence

#: how often a server is asked whether it is well, and the first pause; loading a release takes a moment
PATIENCE = Retry(5, pause_s=0.1)


def change(server: Ref[Server], release: str, former: str) -> Plan:
    """All that gives one server another release; as a part it ends, and is undone, as one."""
    return sequence(
        part(TakeOut(server=server), step="TAKE_OUT"),
        part(Drain(server=server), step="DRAIN"),
        part(Switch(server=server, release=release, former=former), step="SWITCH"),
        part(CheckHealth(server=server, release=release), step="CHECK_HEALTH", retry=PATIENCE),
        part(PutBack(server=server), step="PUT_BACK"),
    )


class OfServer(Command[None], name="fleet.of_server"):
    """What the parts that concern one server share."""

    server: Ref[Server]

    def title(self, db: Reader) -> str:
        return f"{type(self).__name__} {db.get(self.server).label}"

    def traffic(self, db: Reader, function: str) -> Plan:
        """A change of the balancer."""
        server = db.get(self.server)
        return part(local(function, balancer=db.get(server.fleet).balancer, server=server.label))


class TakeOut(OfServer, name="fleet.take_out"):
    """The server gets no more traffic."""

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.server), status=ServerStatus.OUT))
        return self.traffic(db, "take_out")

    def compensate(self, db: Tx) -> Plan:
        db.restore()
        return self.traffic(db, "put_back")


class Drain(OfServer, name="fleet.drain"):
    """Nobody waits for an answer of the server any more. There is nothing to undo."""

    def execute(self, db: Tx) -> Plan:
        return part(local("drain", server=db.get(self.server).folder))


class Switch(OfServer, name="fleet.switch"):
    """The server shows another release; undone, it is well with the former one before anything else happens."""

    release: str
    former: str

    def execute(self, db: Tx) -> Plan:
        return self._point_at(db, self.release)

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.server), release=self.release))

    def compensate(self, db: Tx) -> Plan:
        db.restore()
        return sequence(
            self._point_at(db, self.former),
            part(CheckHealth(server=self.server, release=self.former), retry=PATIENCE),
        )

    def _point_at(self, db: Reader, release: str) -> Plan:
        server = db.get(self.server)
        return part(local("point_at", server=server.folder, release=f"{db.get(server.fleet).releases}/{release}"))


class CheckHealth(OfServer, name="fleet.check_health"):
    """The server is well with that release. It is tried again, after pauses that double: see PATIENCE."""

    release: str

    def execute(self, db: Tx) -> Plan:
        return part(local("check_health", server=db.get(self.server).folder, release=self.release))


class PutBack(OfServer, name="fleet.put_back"):
    """The server gets traffic again."""

    def execute(self, db: Tx) -> Plan:
        return self.traffic(db, "put_back")

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.server), status=ServerStatus.IN_USE))

    def compensate(self, db: Tx) -> Plan:
        db.restore()
        return sequence(self.traffic(db, "take_out"), part(Drain(server=self.server)))


class Fetch(Command[None], name="fleet.fetch"):
    """The release is copied from one mirror."""

    fleet: Ref[Fleet]
    mirror: str
    release: str

    def title(self, db: Reader) -> str:
        return f"Fetch {self.release} from mirror {self.mirror}"

    def execute(self, db: Tx) -> Plan:
        fleet = db.get(self.fleet)
        mirror = f"{fleet.folder}/mirrors/{self.mirror}"
        return part(local("fetch", mirror=mirror, release=f"{fleet.releases}/{self.release}"))

    def compensate(self, db: Tx) -> Plan:
        return part(local("discard", release=f"{db.get(self.fleet).releases}/{self.release}"))


class RemoveOldReleases(Command[None], name="fleet.remove_old_releases"):
    """Only the releases that servers show are kept."""

    fleet: Ref[Fleet]

    def execute(self, db: Tx) -> Plan:
        keep = sorted({server.release for server in db.find(Server, fleet=self.fleet)})
        return part(local("keep_only", releases=db.get(self.fleet).releases, keep=keep))


class WriteNotice(Command[None], name="fleet.write_notice"):
    """People can read something about the release."""

    fleet: Ref[Fleet]
    file: str
    text: str

    def execute(self, db: Tx) -> Plan:
        return part(local("write_down", file=f"{db.get(self.fleet).folder}/{self.file}", text=self.text))
