"""StorageDomain.create: the folders of a domain, made aside and renamed."""

from __future__ import annotations

from pathlib import Path

from interlock.agent import durable
from interlock.agent.domain import write_meta
from interlock.agent.records import StepFailed
from interlock.agent.resource_locks import Resource
from interlock.agent.steps import Program, Step, StepKind, Work, domain_resource
from interlock.verbs import Code, StorageDomainCreate

Creating = Work[StorageDomainCreate]


async def _check(work: Creating) -> None:
    await work.host.blocking(_refuse_existing, work)


def _refuse_existing(work: Creating) -> None:
    verb = work.verb
    work.host.domains.check_folder(verb.typeArgs)
    if work.host.domains.exists(verb.storagedomainID) or _final(work).exists():
        raise StepFailed(
            Code.STORAGE_DOMAIN_ALREADY_EXISTS,
            f"storage domain {verb.storagedomainID} exists already; choose another id",
        )


async def _make(work: Creating) -> None:
    await work.host.blocking(_make_folders, work)


def _make_folders(work: Creating) -> None:
    verb = work.verb
    aside = _aside(work)
    durable.remove_tree(aside)
    for folder in (aside, aside / "dom_md", aside / "images"):
        durable.make_folder(folder)
    meta = {
        "CLASS": "Data",
        "DESCRIPTION": verb.domainName,
        "REMOTE_PATH": verb.typeArgs,
        "SDUUID": verb.storagedomainID,
        "TYPE": verb.domainType.name,
        "VERSION": str(verb.version),
    }
    write_meta(aside / "dom_md" / "metadata", meta)
    durable.rename(aside, _final(work))


def _is_made(work: Creating) -> bool:
    return (_final(work) / "dom_md" / "metadata").is_file()


async def _unmake(work: Creating) -> None:
    await work.host.blocking(_remove_folders, work)


def _remove_folders(work: Creating) -> None:
    # Nothing can be in the domain yet: it is locked by this task from before it was made.
    for folder in (_final(work), _aside(work)):
        durable.remove_tree(folder)


def _final(work: Creating) -> Path:
    return Path(work.verb.typeArgs) / work.verb.storagedomainID


def _aside(work: Creating) -> Path:
    return Path(work.verb.typeArgs) / f"_new_{work.verb.storagedomainID}"


def _resources(verb: StorageDomainCreate) -> tuple[Resource, ...]:
    return (domain_resource(verb.storagedomainID, is_exclusive=True),)


PROGRAM: Program[StorageDomainCreate] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, _check),
        Step("make", StepKind.OBSERVABLE, _make, holds=_is_made, undo=_unmake),
    ),
    resources=_resources,
)
