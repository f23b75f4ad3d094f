"""StorageDomain.create: the folders of a domain, made aside and renamed."""

from __future__ import annotations

import os
from pathlib import Path

from interlock.agent import durable
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain, write_meta
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource
from interlock.verbs import Code, StorageDomainCreate

Creating = Work[StorageDomainCreate]


def _check(work: Creating) -> None:
    verb = work.verb
    folder = work.host.domains.check_folder(verb.typeArgs)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise StepFailed(Code.READ_ONLY, f"{folder} lies on a file system that is mounted read-only")
    if work.host.domains.exists(verb.storagedomainID) or _final(work).exists():
        raise StepFailed(
            Code.STORAGE_DOMAIN_ALREADY_EXISTS,
            f"storage domain {verb.storagedomainID} exists already; choose another id",
        )


def _make(work: Creating) -> None:
    if not _final(work).exists():
        _make_aside(work)
    durable.ensure_renamed(_aside(work), _final(work))


def _make_aside(work: Creating) -> None:
    verb, aside = work.verb, _aside(work)
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


def _unmake(work: Creating) -> None:
    """Renames away first, so that a half-removed domain is never taken for a whole one."""
    domain, aside = Domain(_final(work)), _aside(work)
    if domain.path.exists():
        if any(domain.images.iterdir()):
            raise StepFailed(
                Code.STORAGE_DOMAIN_NOT_EMPTY,
                f"images are in storage domain {work.verb.storagedomainID} by now; delete them first",
            )
        durable.remove_tree(aside)
        durable.rename(domain.path, aside)
    durable.remove_tree(aside)


def _final(work: Creating) -> Path:
    return Path(work.verb.typeArgs) / work.verb.storagedomainID


def _aside(work: Creating) -> Path:
    return Path(work.verb.typeArgs) / f"_new_{work.verb.storagedomainID}"


def _resources(verb: StorageDomainCreate) -> tuple[Resource, ...]:
    return (domain_resource(verb.storagedomainID, is_exclusive=True),)


PROGRAM: Program[StorageDomainCreate] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("make", StepKind.REPEATABLE, blocking(_make), undo=blocking(_unmake)),
    ),
    resources=_resources,
)
