"""Backups: whole while others write, put where nothing is, and marked as what they are before anybody uses them."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from interlock.cli.exits import Exit
from interlock.cli.program import run
from interlock.ids import new_id
from interlock.model.changes import Change
from interlock.model.errors import InvalidInput, Missing, NotOwner, Refused
from interlock.model.records import EventRecord, Severity
from interlock.model.states import StepStatus
from interlock.model.trials import RESTORED
from interlock.store.backups import back_up, restore
from interlock.store.database import Database
from interlock.store.flush import flush
from interlock.store.queries import clusters, engines
from interlock.store.tables import async_tasks, audit_log, job
from tests.databases import Scratch
from tests.store.rows import FLOW, HOST, JOB, OTHER, PLACEHOLDER, ROOT


def url(file: Path) -> str:
    return f"sqlite:///{file}"


def founded(file: Path) -> UUID:
    """A database with an open job; the cluster's id."""
    with Database.open(url(file)) as database, database.writing("commit_register") as connection:
        flush(connection, [Change(None, replace(JOB, ended_at=None, result=None, status=StepStatus.STARTED))])
        return clusters.found(connection, new_id()).id


def terms(file: Path) -> list[tuple[int, int]]:
    with Database.open_reading(url(file)) as database, database.reading() as connection:
        return [(row.term, row.claims) for row in connection.execute(select(job.c.term, job.c.claims))]


@pytest.mark.hard_case(19)
def test_a_restored_backup_is_another_generation_and_its_open_flows_wait_for_a_person(tmp_path: Path) -> None:
    live, saved, anew = (tmp_path / name for name in ("live.db", "saved.db", "anew.db"))
    id = founded(live)
    with Database.open(url(live)) as database:
        back_up(url(live), saved)  # while it is in use
        with database.writing("commit") as connection:
            connection.execute(update(job).values(term=8))
    assert saved.stat().st_mode & 0o777 == 0o600
    [(term, _)] = terms(saved)
    restored = restore(url(anew), 5_000, saved)
    assert (restored.cluster.id, restored.cluster.generation, restored.open_flows) == (id, 5_000, 1)
    assert terms(anew) == [(term + clusters.APART, RESTORED)]
    assert anew.stat().st_mode & 0o777 == 0o600
    assert restore(url(anew), 4_000).cluster.generation == 5_001  # once more, by a clock that went back
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"live.db", "live.db.lock", "saved.db", "anew.db", "anew.db.lock"}


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_what_lay_beside_a_lost_file_was_taken_for_a_part_of_the_restored_one(tmp_path: Path, suffix: str) -> None:
    """The changes in it were replayed over what had been marked, and the mark was gone."""
    saved = tmp_path / "saved.db"
    founded(saved)
    (tmp_path / f"state.db{suffix}").write_bytes(b"of a file that is gone")
    with pytest.raises(InvalidInput, match=rf"state\.db{suffix} exists, and may hold what no backup does"):
        restore(url(tmp_path / "state.db"), 1, saved)


def test_an_empty_database_is_not_taken_for_one_that_was_put_back(scratch: Scratch, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(Refused, match=r"empty\.db is empty: nothing was put back there"):
        restore(url(tmp_path / "empty.db"), 1)


def test_what_others_remember_of_the_former_database_is_passed(tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    founded(live)
    with Database.open(url(live)) as database, database.writing("commit") as connection:
        engines.register(connection, FLOW, 1, "h", 1)
        unsent = replace(PLACEHOLDER, host=HOST)
        event = EventRecord(FLOW, 1, 1, Severity.INFO, "kind", "words", "c")
        flush(connection, [Change(None, ROOT), Change(None, unsent), Change(None, event)])
    both = [tmp_path / name for name in ("one.db", "two.db")]
    for number, file in enumerate(both):
        back_up(url(live), tmp_path / f"saved{number}.db")
        restore(url(file), 2_000_000_000_000 + number, tmp_path / f"saved{number}.db")
    assert terms(both[0]) != terms(both[1])  # the same backup twice: hosts tell them from each other
    with Database.open(url(both[0])) as database, database.writing("commit") as connection:
        assert connection.scalars(select(async_tasks.c.incarnation)).all() == [clusters.NO_JOURNAL]
        assert engines.register(connection, OTHER.id, 3, "h", 1) > 1 + clusters.EPOCHS_APART
        flush(connection, [Change(None, replace(event, seq=2))])
        assert connection.execute(select(func.max(audit_log.c.id))).scalar_one() > clusters.APART


def test_what_was_put_back_by_other_means_is_marked_where_it_is(scratch: Scratch) -> None:
    with Database.open(scratch.url):
        pass
    assert restore(scratch.url, 7).cluster.generation == 7
    with Database.open_reading(scratch.url) as database, database.reading() as connection:
        known = clusters.present(connection)
        assert known is not None
        assert known.generation == 7


def test_nothing_is_overwritten_and_nobody_is_disturbed(tmp_path: Path) -> None:
    live, saved = tmp_path / "live.db", tmp_path / "saved.db"
    founded(live)
    back_up(url(live), saved)
    with pytest.raises(InvalidInput, match=r"saved\.db exists, and may hold what no backup does"):
        back_up(url(live), saved)
    with pytest.raises(InvalidInput, match=r"live\.db exists, and may hold what no backup does; move it away"):
        restore(url(live), 1, saved)
    with Database.open(url(live)), pytest.raises(NotOwner, match="is in use by process"):
        restore(url(live), 1)
    with pytest.raises(Missing):
        restore(url(tmp_path / "none.db"), 1)
    with pytest.raises(Missing):
        back_up(url(tmp_path / "none.db"), tmp_path / "of_none.db")


def test_what_is_no_backup_of_ours_is_refused_whole(tmp_path: Path) -> None:
    target, words, other = (tmp_path / name for name in ("target.db", "words.db", "other.db"))
    words.write_text("this is no database at all, however long it is " * 40)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE engines (id)")
    for source in (words, other):
        with pytest.raises(Refused, match=f"{source} is no backup of Interlock"):
            restore(url(target), 1, source)
        assert not target.exists()
    with pytest.raises(Missing, match="there is no backup"):
        restore(url(target), 1, tmp_path / "none.db")


@pytest.mark.parametrize("order", ["commit_restore:1:before", "commit_restore:1:after"])
def test_who_is_killed_while_it_restores_leaves_nothing_and_is_simply_called_again(tmp_path: Path, order: str) -> None:
    saved, state = tmp_path / "saved.db", tmp_path / "state"
    founded(saved)
    (tmp_path / "kill").write_text(order)
    program = [sys.executable, "-m", "interlock.cli", "restore", str(saved), "--state", str(state)]
    killed = subprocess.run(program, env={**os.environ, "INTERLOCK_FAILPOINTS": str(tmp_path)}, check=False)
    assert (killed.returncode, (state / "state.db").stat().st_size) == (-signal.SIGKILL, 0)
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    assert "1 job waits for a person" in done.stdout
    assert "state.db.key is not there: put it back" in done.stdout
    assert {path.name for path in state.iterdir()} == {"state.db", "state.db.lock"}
    assert terms(state / "state.db")[0][1] == RESTORED


def test_a_restore_says_which_of_both_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["a.db", "--in-place"]):
        assert run(["restore", *words, "--state", str(tmp_path)]) == Exit.USAGE
        assert "name either the file of a backup, or --in-place" in capsys.readouterr().err
    founded(tmp_path / "state.db")
    assert run(["restore", "--in-place", "--state", str(tmp_path)]) == 0
    assert terms(tmp_path / "state.db")[0][1] == RESTORED


def test_postgresql_has_programs_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(InvalidInput, match="pg_dump"):
        back_up("postgresql://nobody@127.0.0.1:1/none", tmp_path / "a.db")
    with pytest.raises(InvalidInput, match="pg_restore"):
        restore("postgresql://nobody@127.0.0.1:1/none", 1, tmp_path / "a.db")
