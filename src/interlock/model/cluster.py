"""Whose database it is: hosts tell by it a coordinator from the one that a restored backup has put in its place."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Cluster:
    """The id is that of a database and of all its backups; the generation is greater after each restoring. Hosts refuse
    the calls of any but the newest generation that they have seen (hard case 19)."""

    id: UUID
    generation: int
