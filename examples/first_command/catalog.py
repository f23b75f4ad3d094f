"""The example's catalog: two entities, the command that a person gives, and the two parts of its sequence."""

from dataclasses import replace
from enum import StrEnum

from examples.first_command.files import copy_files, point_at, remove_files
from interlock import (
    NOTHING,
    Catalog,
    Command,
    Entity,
    Failure,
    Local,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Tx,
    exclusive,
    local,
    part,
    refuse,
    sequence,
)


class ReleaseStatus(StrEnum):
    """What a release is good for."""

    #: its files are being copied
    PREPARING = "PREPARING"
    #: its files are there
    READY = "READY"


class Site(Entity, type="site"):
    """A web site: `folder` holds its releases, and a link `live` to the one that people see."""

    folder: str
    live: "Ref[Release] | None" = None


class Release(Entity, type="release"):
    """The files of one version of a site."""

    site: Ref[Site]
    folder: str
    status: ReleaseStatus = ReleaseStatus.PREPARING


class AddSite(Command[Ref[Site]], name="site.add"):
    """Say that there is a site; its folder must be absolute."""

    name: str
    folder: str

    def validate(self, db: Reader) -> Refusals:
        if not self.folder.startswith("/"):
            yield refuse(f"{self.folder!r} is no absolute path")

    def execute(self, db: Tx) -> Plan:
        db.add(Site(id=db.new(Site).id, name=self.name, folder=self.folder))
        return NOTHING

    def end_successfully(self, db: Tx) -> Ref[Site]:
        site = db.named(Site, self.name)
        assert site is not None
        return site.ref


class PublishSite(Command[None], name="site.publish"):
    """Copy a folder to the site and let people see it; or leave everything as it was."""

    site: Ref[Site]
    version: str
    source: str

    def title(self, db: Reader) -> str:
        return f"Publish {self.version} of site {db.get(self.site).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.site)

    def validate(self, db: Reader) -> Refusals:
        if not self.version.isalnum() or self.version == "live":
            yield refuse(f"version {self.version!r} is no name for a folder; use letters and digits, not `live`")
        if db.named(Release, self._name(db)) is not None:
            yield refuse(f"there is a release {self._name(db)} already; choose another version")

    def execute(self, db: Tx) -> Plan:
        folder, release = db.get(self.site).folder, db.new(Release)
        db.add(Release(id=release.id, name=self._name(db), site=self.site, folder=f"{folder}/{self.version}"))
        return sequence(
            part(CopyFiles(release=release, source=self.source), step="COPY_FILES", weight=9),
            part(GoLive(site=self.site, release=release), step="GO_LIVE"),
        )

    def _name(self, db: Reader) -> str:
        return f"{db.get(self.site).name}-{self.version}"


class CopyFiles(Command[None], name="site.copy_files"):
    """The first part: the release's files are put in their place."""

    release: Ref[Release]
    source: str

    def execute(self, db: Tx) -> Plan:
        return part(local("copy_files", source=self.source, target=db.get(self.release).folder))

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.release), status=ReleaseStatus.READY))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        return self._remove(db)  # what was copied before it failed

    def compensate(self, db: Tx) -> Plan:
        db.restore()
        return self._remove(db)

    def _remove(self, db: Tx) -> Plan:
        return part(local("remove_files", target=db.get(self.release).folder), step="REMOVE_FILES")


class GoLive(Command[None], name="site.go_live"):
    """The second part: people see the release from now on."""

    site: Ref[Site]
    release: Ref[Release]

    def execute(self, db: Tx) -> Plan:
        link, target = f"{db.get(self.site).folder}/live", db.get(self.release).folder
        return part(local("point_at", link=link, target=target))

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.site), live=self.release))


CATALOG = Catalog(
    Site,
    Release,
    AddSite,
    PublishSite,
    CopyFiles,
    GoLive,
    Local("copy_files", copy_files, repeatable=True),
    Local("remove_files", remove_files, repeatable=True),
    Local("point_at", point_at, repeatable=True),
)
