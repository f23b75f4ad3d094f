"""The parts of a rolling change, each a command: what is done, what is written then, and what undoes it."""

from dataclasses import replace
from typing import ClassVar

from examples.rolling_change.entities import Fleet, Server, ServerStatus
from interlock import Command, Plan, Reader, Ref, Retry, Tx, local, part, sequence

#: how often a server is asked whether it is well, and the first pause; loading a release takes a moment
PATIENCE = Retry(5, pause_s=0.1)


class OfServer(Command[None], name="fleet.of_server"):
    """What the commands on one server share; no command itself."""

    words: ClassVar[str]
    server: Ref[Server]

    def title(self, db: Reader) -> str:
        return f"{self.words} {db.get(self.server).label}"


class ChangeServer(OfServer, name="fleet.change_server"):
    """All that gives one server another release. It needs no undoing of its own: its parts have theirs."""

    words = "Change"
    release: str
    former: str

    def execute(self, db: Tx) -> Plan:
        return sequence(
            part(TakeOut(server=self.server), step="TAKE_OUT"),
            part(Drain(server=self.server), step="DRAIN"),
            part(Switch(server=self.server, release=self.release, former=self.former), step="SWITCH"),
            part(CheckHealth(server=self.server, release=self.release), step="CHECK_HEALTH", retry=PATIENCE),
            part(PutBack(server=self.server), step="PUT_BACK"),
        )


class TakeOut(OfServer, name="fleet.take_out"):
    """The server gets no more traffic."""

    words = "Take out"

    def execute(self, db: Tx) -> Plan:
        server = db.get(self.server)
        db.put(replace(server, status=ServerStatus.OUT))
        return part(local("take_out", balancer=db.get(server.fleet).balancer, server=server.label))

    def compensate(self, db: Tx) -> Plan:
        return part(PutBack(server=self.server), step="PUT_BACK")


class Drain(OfServer, name="fleet.drain"):
    """Nobody waits for an answer of the server any more. There is nothing to undo."""

    words = "Drain"

    def execute(self, db: Tx) -> Plan:
        return part(local("drain", server=db.get(self.server).folder))


class Switch(OfServer, name="fleet.switch"):
    """The server shows another release; switched back, it must be well before anything else is undone."""

    words = "Switch"
    release: str
    former: str

    def execute(self, db: Tx) -> Plan:
        server = db.get(self.server)
        release = f"{db.get(server.fleet).releases}/{self.release}"
        return part(local("point_at", server=server.folder, release=release))

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.server), release=self.release))

    def compensate(self, db: Tx) -> Plan:
        return sequence(
            part(Switch(server=self.server, release=self.former, former=self.release), step="SWITCH_BACK"),
            part(CheckHealth(server=self.server, release=self.former), step="CHECK_HEALTH", retry=PATIENCE),
        )


class CheckHealth(OfServer, name="fleet.check_health"):
    """The server is well with that release. It is tried again, after pauses that double: see PATIENCE."""

    words = "Check the health of"
    release: str

    def execute(self, db: Tx) -> Plan:
        return part(local("check_health", server=db.get(self.server).folder, release=self.release))


class PutBack(OfServer, name="fleet.put_back"):
    """The server gets traffic again."""

    words = "Put back"

    def execute(self, db: Tx) -> Plan:
        server = db.get(self.server)
        return part(local("put_back", balancer=db.get(server.fleet).balancer, server=server.label))

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.server), status=ServerStatus.IN_USE))

    def compensate(self, db: Tx) -> Plan:
        return sequence(part(TakeOut(server=self.server), step="TAKE_OUT"), part(Drain(server=self.server)))


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
        release = f"{db.get(self.fleet).releases}/{self.release}"
        return part(local("discard", release=release), step="DISCARD")


class RemoveOldReleases(Command[None], name="fleet.remove_old_releases"):
    """Only the releases that servers show are kept. What is gone cannot be switched back to."""

    fleet: Ref[Fleet]

    def title(self, db: Reader) -> str:
        return "Remove the releases that no server shows"

    def execute(self, db: Tx) -> Plan:
        keep = sorted({server.release for server in db.find(Server, fleet=self.fleet)})
        return part(local("keep_only", releases=db.get(self.fleet).releases, keep=keep))


class WriteNotice(Command[None], name="fleet.write_notice"):
    """People can read something about the release."""

    fleet: Ref[Fleet]
    file: str
    text: str

    def title(self, db: Reader) -> str:
        return f"Write {self.file}: {self.text}"

    def execute(self, db: Tx) -> Plan:
        return part(local("write_down", file=f"{db.get(self.fleet).folder}/{self.file}", text=self.text))
