"""The commands that a person gives, and all that they are made of: `RollOut` is the one to read first."""

from examples.rolling_change import outside
from examples.rolling_change.entities import Fleet, Server
from examples.rolling_change.parts import (
    ChangeServer,
    CheckHealth,
    Drain,
    Fetch,
    PutBack,
    RemoveOldReleases,
    Switch,
    TakeOut,
    WriteNotice,
)
from interlock import (
    NOTHING,
    Catalog,
    Command,
    Local,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Tx,
    approval,
    exclusive,
    first_of,
    parallel,
    part,
    refuse,
)

#: how long a roll-out waits for somebody who agrees; then it is undone
AGREE_S_MAX = 3600.0


class RollOut(Command[None], name="fleet.roll_out"):
    """Give all servers of a fleet that do not have it a release, or leave each with the one it has."""

    fleet: Ref[Fleet]
    release: str
    #: where the release may be, the likeliest first
    mirrors: tuple[str, ...] = ("near", "far")
    #: whether somebody is to look at the canary before the others are changed
    asks: bool = False

    def title(self, db: Reader) -> str:
        return f"Roll out {self.release} on fleet {db.get(self.fleet).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.fleet, *(server.ref for server in db.find(Server, fleet=self.fleet)))

    def validate(self, db: Reader) -> Refusals:
        if not self.release.isalnum():
            yield refuse(f"release {self.release!r} is no name for a folder; use letters and digits")
        if not self.mirrors:
            yield refuse("nobody has the release; name a mirror")
        if not self._to_change(db):
            yield refuse(
                f"fleet {db.get(self.fleet).name} has no server without {self.release}; choose another release"
            )

    def execute(self, db: Tx) -> Plan:
        canary, *others = self._to_change(db)
        question = f"Shall all servers get {self.release}?"
        ask = approval(question, permission="fleet.roll_out", about=self.fleet)
        agreed = [part(ask, key="agreed", after="canary", step="ASK", timeout_s=AGREE_S_MAX)] if self.asks else []
        fetches = [part(Fetch(fleet=self.fleet, mirror=each, release=self.release)) for each in self.mirrors]
        return parallel(
            part(self._notice("notices/coming", f"{self.release} is coming"), best_effort=True),
            part(first_of(*fetches), key="fetched", step="FETCH"),
            part(canary, key="canary", after="fetched", step="CANARY"),
            *agreed,
            part(
                parallel(*(part(each, step="CHANGE") for each in others), at_most=2, stop_on_failure=True),
                key="others", after="agreed" if self.asks else "canary", step="OTHERS", weight=max(1, len(others)),
            ),
            part(RemoveOldReleases(fleet=self.fleet), key="clean", after="others", step="CLEAN_UP", no_return=True),
            part(self._notice("registered", self.release), after="clean", step="REGISTER"),
        )  # fmt: skip

    def _to_change(self, db: Reader) -> list[ChangeServer]:
        servers = [each for each in db.find(Server, fleet=self.fleet) if each.release != self.release]
        return [ChangeServer(server=each.ref, release=self.release, former=each.release) for each in servers]

    def _notice(self, file: str, text: str) -> WriteNotice:
        return WriteNotice(fleet=self.fleet, file=file, text=text)


class AddFleet(Command[Ref[Fleet]], name="fleet.add"):
    """Say that there is a fleet, whose servers all have one release; its folder must be absolute."""

    name: str
    folder: str
    servers: tuple[str, ...]
    release: str

    def validate(self, db: Reader) -> Refusals:
        if not self.folder.startswith("/"):
            yield refuse(f"{self.folder!r} is no absolute path")
        if db.named(Fleet, self.name) is not None:
            yield refuse(f"there is a fleet {self.name} already; choose another name")

    def execute(self, db: Tx) -> Plan:
        fleet = db.new(Fleet)
        db.add(Fleet(id=fleet.id, name=self.name, folder=self.folder))
        for label in self.servers:
            id, folder = db.new(Server).id, f"{self.folder}/servers/{label}"
            db.add(Server(id=id, name=f"{self.name}-{label}", fleet=fleet, folder=folder, release=self.release))
        return NOTHING

    def end_successfully(self, db: Tx) -> Ref[Fleet]:
        fleet = db.named(Fleet, self.name)
        assert fleet is not None
        return fleet.ref


_FUNCTIONS = (
    outside.take_out,
    outside.put_back,
    outside.drain,
    outside.point_at,
    outside.check_health,
    outside.fetch,
    outside.discard,
    outside.keep_only,
    outside.write_down,
)

CATALOG = Catalog(
    Fleet,
    Server,
    AddFleet,
    RollOut,
    Fetch,
    ChangeServer,
    TakeOut,
    Drain,
    Switch,
    CheckHealth,
    PutBack,
    RemoveOldReleases,
    WriteNotice,
    *(Local(function.__name__, function, repeatable=True) for function in _FUNCTIONS),
)
