"""Events of all jobs, as they can be searched."""

from interlock.model.records import Severity
from interlock.store.tables import LOUD, SELDOM_KIND, audit_log, job
from interlock.views.events import numbered
from interlock.views.search.atoms import Atom
from interlock.views.search.fields import Field, Kind, Subject
from interlock.views.search.sources import Collection, Lookup, Walk, any_of, equals, ids_by, within

_event = audit_log.c
#: what every job has: walked through without an index of its own
COMMON_KINDS = ("job_accepted", "job_ended", "step_started", "step_ended")

FIELDS: tuple[Field | Subject, ...] = (
    Field("number", Kind.NUMBER, _event.id, "its place in the log of all jobs"),
    Field("job", Kind.ID, _event.flow_id, "whose event it is"),
    Field("seq", Kind.NUMBER, _event.seq, "its number within the job"),
    Field("at", Kind.TIME, _event.at, "when it happened"),
    Field("severity", Kind.WORD, _event.severity, "how loud it is", tuple(Severity)),
    Field("kind", Kind.TEXT, _event.kind, "what happened, in a word"),
    Field("message", Kind.TEXT, _event.message, "what happened"),
    Field("user", Kind.TEXT, _event.user, "whose doing it was", nullable=True),
    Field("correlation_id", Kind.TEXT, _event.correlation_id, "what it shares with its job"),
    Field("command", Kind.ID, _event.command_id, "of which command", nullable=True),
    Field("task", Kind.ID, _event.task_id, "of which task", nullable=True),
)


def _bare(word: str) -> list[tuple[str, str]]:
    return [("message", f"*{word}*")]


def _is_common(atom: Atom) -> bool:
    return any(equals("kind", kind)(atom) for kind in COMMON_KINDS)


def _is_seldom(atom: Atom) -> bool:
    return equals("kind")(atom) and not _is_common(atom)


EVENTS = Collection(
    name="events",
    table=audit_log,
    id=_event.id,
    fields={field.name: field for field in FIELDS},
    sources=(
        Walk("seq", equals("job")),
        Lookup(equals("correlation_id"), ids_by(job.c.correlation_id, _event.id, job, job.c.id == _event.flow_id)),
        Walk("at", _is_seldom, SELDOM_KIND),
        Walk("at", equals("severity", "warning", "error"), LOUD),
        Walk("number", within("number"), keyed=False),
        Walk("at", any_of(within("at"), _is_common, equals("severity")), keyed=False),
    ),
    order="at",
    orders=("at", "number"),
    remedy='add job, kind, severity = error or at, as in at > "2 hours ago"',
    show=numbered,
    bare=_bare,
    orders_within=(("job", "seq"),),
)
