"""Order across jobs: what a job comes after."""

from uuid import UUID

from sqlalchemy import Connection, select

from interlock.store.tables import job, job_formers
from interlock.views.words import Json


def of_job(connection: Connection, job_id: UUID) -> list[Json]:
    """The jobs that one comes after, how they must end and how they ended; the title is gone where the job is."""
    former = job_formers.c
    query = (
        select(former.former_id, former.policy, former.result, job.c.title)
        .outerjoin(job, job.c.id == former.former_id)
        .where(former.flow_id == job_id)
        .order_by(former.former_id)
    )
    return [
        {"job_id": str(id), "title": title, "policy": policy, "result": result}
        for id, policy, result, title in connection.execute(query)
    ]
