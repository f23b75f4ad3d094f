"""The search language: what is written finds what it means, by an index or not at all, page by page."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from interlock.model.changes import Change
from interlock.model.errors import InvalidInput
from interlock.store.database import Database
from interlock.views.search import commands, completing, entities, events, jobs, searching, steps, walking
from interlock.views.search.refusing import BadQuery
from interlock.views.search.sources import Collection
from interlock.views.search.syntax import parse
from interlock.views.words import Json
from tests.databases import DIALECTS, empty_url
from tests.views import crowd, picture

COUNT = 60
REMEDY = 'add status, action, user, started or an entity, as in started > "2 hours ago" or vm.name = web1'
NARROW = f"every one of the jobs would have to be looked at; {REMEDY}"
TOO_MANY = "one word too many; write and, or, or sortby before it, and quote values with spaces"


@pytest.fixture(autouse=True)
def in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one answer holds must not hang on how busy this machine is."""
    monkeypatch.setattr(walking, "LOOK_S_MAX", 60.0)


@pytest.fixture(params=DIALECTS, scope="module")
def crowded(request: pytest.FixtureRequest) -> Iterator[tuple[Database, list[crowd.Job]]]:
    """A database with many jobs, which no test changes."""
    made = crowd.jobs(COUNT)
    with empty_url(request.param) as url, Database.open(url) as database:
        picture.write(database, *crowd.VMS, *crowd.HOSTS, *(row for job in made for row in job.rows))
        yield database, made


@pytest.fixture(params=DIALECTS)
def painted(request: pytest.FixtureRequest) -> Iterator[Database]:
    with empty_url(request.param) as url, picture.paint(url) as opened:
        yield opened


def found(
    connection: Connection, query: str, collection: Collection = jobs.JOBS, *, now: int = crowd.NOW, **options: Any
) -> Json:
    return searching.page(connection, searching.Search(collection, query, crowd.TYPES, now), **options)


def all_ids(connection: Connection, query: str, limit: int) -> list[UUID]:
    """Page by page, as often as it goes on."""
    ids: list[UUID] = []
    after = None
    for _ in range(5 * COUNT):
        page = found(connection, query, limit=limit, after=after)
        ids += [UUID(each["id"]) for each in page["jobs"]]
        assert len(page["jobs"]) == limit or page["partial"] or page["next"] is None
        after = page["next"]
        if after is None:
            return ids
    raise AssertionError(f"{query}: no end of pages")


@pytest.mark.parametrize("few", [False, True], ids=["usual bounds", "tiny bounds"])
def test_a_query_finds_what_it_means(
    crowded: tuple[Database, list[crowd.Job]], few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tiny bounds every page is cut short, sorting gives way to walking, and chunks are of two ids."""
    if few:
        monkeypatch.setattr(walking, "LOOKED_MAX", 7)
        monkeypatch.setattr(walking, "SORTED_MAX", 5)
        monkeypatch.setattr(walking, "_CHUNK", 2)
        monkeypatch.setattr("interlock.views.search.subjects.ENTITIES_MAX", 1)
    database, made = crowded
    chance = random.Random(5)
    answered = refused = 0
    with database.reader() as connection:
        for _ in range(60):
            text, holds, listed = crowd.query(chance)
            try:
                got = all_ids(connection, text, chance.choice([1, 3, 50]))
            except BadQuery:
                refused += 1
                continue
            answered += 1
            assert got == listed([job for job in made if holds(job)]), text
    assert answered > 10
    assert refused > 5


@pytest.mark.parametrize("condition", [text for text, _ in crowd.CONDITIONS])
def test_each_condition_holds_beside_another(crowded: tuple[Database, list[crowd.Job]], condition: str) -> None:
    database, made = crowded
    holds = dict(crowd.CONDITIONS)[condition]
    with database.reader() as connection:
        got = all_ids(connection, f"hidden in (yes, no) and started <= now and {condition}", 50)
    assert sorted(got) == sorted(job.row.id for job in made if job.row.started_at <= crowd.NOW and holds(job))


@pytest.mark.parametrize(
    ("query", "reason", "column"),
    [
        ("stauts = failed", "unknown field 'stauts'; did you mean status?", 1),
        ("user = ann and status = faild", "no status is 'faild'; did you mean failed?", 25),
        ("vn.name = web1", "there is no entity type 'vn'; did you mean vm?", 1),
        ("vm.size = 3", "of a vm one can ask for: name, id", 1),
        ("user = ann and", "the end where a condition should be, as status = failed", 15),
        ("(user = ann", "the end where a closing parenthesis should be", 12),
        ("user = ann)", f"')' is {TOO_MANY}", 11),
        ("title = Remove VM", f"'VM' is {TOO_MANY}", 16),
        ("user = 'ann", "a text in ' does not end; close it", 8),
        ("user ! ann", "'!' stands alone; write != or not", 6),
        ("user is ann", "after is comes set or not set", 9),
        ("user in ann", "'ann' where a list in parentheses, as (a, b) should be", 9),
        ("user in (ann", "the end where a comma, or the list's closing parenthesis should be", 13),
        ("user = =", "'=' where a value should be; quote values with signs or spaces", 8),
        ("user < ann", "user is compared with = and !=, not with <", 8),
        ("vm.name is set", "vm.name is compared with = and !=", 1),
        ("priority = high", "priority is a number, 'high' is none", 12),
        ("started > tomorrow",
         "'tomorrow' is no time; write now, today, yesterday, \"2 hours ago\", \"7 days ago\", 2026-01-31, "
         "2026-01-31T08:00 (UTC)", 11),
        ("duration > long", "'long' is no span of time; write 90s, 15m, 2h or 1d", 12),
        ("hidden = maybe", "hidden is yes or no, not 'maybe'", 10),
        ("id = 12", "id is an id, '12' is none; copy all of it", 6),
        ("user = a*b*c*d*e*f*g", "more than 5 stars in one value", 8),
        ("user = ann sortby", "after sortby comes a field", 18),
        ("user = ann sortby statu", "'statu' is nothing to sort by; did you mean status?", 19),
        ("user = ann sortby title down", "'down' is one word too many; end there", 25),
        ("title = *disk*",
         f"a star in front of title: {NARROW}", 1),
        ("user = ann or progress > 5",
         f"progress alone: {NARROW}", 15),
        ("user != ann",
         f"what user is not: {NARROW}", 1),
        ("sortby title",
         f"all jobs cannot be read in the order of title; {REMEDY}", 8),
        ("user = 'a\\u0000'", None, None),
    ],
)  # fmt: skip
def test_a_mistake_is_shown_where_it_is(
    crowded: tuple[Database, list[crowd.Job]], query: str, reason: str | None, column: int | None
) -> None:
    with crowded[0].reader() as connection:
        if reason is None:
            assert found(connection, query)["jobs"] == []
            return
        with pytest.raises(BadQuery) as refused:
            found(connection, query)
    assert (str(refused.value), refused.value.column) == (f"{reason} (column {column})", column)


def test_what_no_database_can_hold_is_refused(crowded: tuple[Database, list[crowd.Job]]) -> None:
    with crowded[0].reader() as connection:
        for wrong in ("user = 'a\0'", "title = \ud800*"):
            with pytest.raises(BadQuery, match="has signs that no text here can have"):
                found(connection, wrong)


def test_more_than_a_query_may_be_is_refused() -> None:
    for query, reason in (
        ("a" * 2001, "the query has 2001 letters; at most 2000"),
        (" or ".join(["a"] * 51), "more than 50 conditions"),
        ("not " * 30 + "a", "nested more than 20 deep"),
        ("user in (" + ",".join(["a"] * 101) + ")", "more than 100 values"),
    ):
        with pytest.raises(BadQuery, match=reason):
            parse(query)


_WORDS = """status user vm.name title started = != < <= in not and or ( ) , is set sortby desc ann web* failed
    "2_hours_ago" ' " \\ ! * today 5 10m"""
WORDS = st.sampled_from(_WORDS.split())
TEXTS = st.lists(WORDS | st.text(max_size=4), max_size=12).map(" ".join)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_nothing_that_is_written_breaks_the_parser(text: str) -> None:
    column = 1
    try:
        parse(text)
    except BadQuery as error:
        column = error.column
    assert 1 <= column <= len(text) + 1


def test_nothing_that_is_written_breaks_search_or_completion(crowded: tuple[Database, list[crowd.Job]]) -> None:
    with crowded[0].reader() as connection:

        @given(TEXTS, st.integers(0, 40))
        @settings(max_examples=100, deadline=None)
        def check(text: str, position: int) -> None:
            told = completing.complete(connection, jobs.JOBS, text, position, crowd.TYPES)
            assert told["from"] <= told["to"] <= len(text)
            column = 1
            try:
                found(connection, text)
            except BadQuery as error:
                column = error.column
            assert 1 <= column <= len(text) + 1

        check()


def test_a_cursor_survives_new_rows_and_is_for_its_query_only(painted: Database) -> None:
    with painted.reader() as connection:
        first = found(connection, "user = ann", limit=1, now=picture.START)
    newer = replace(picture.running_job, id=UUID(int=9), started_at=picture.START + 99 * picture.SECOND, refs=())
    picture.write(painted, newer)
    with painted.reader() as connection:
        second = found(connection, "user = ann", limit=1, after=first["next"])
        assert [each["id"] for page in (first, second) for each in page["jobs"]] == [
            str(picture.RUNNING_JOB), str(picture.FAILED_JOB),
        ]  # fmt: skip
        for wrong in ("user = bob", "user = ann sortby ended"):
            with pytest.raises(InvalidInput, match="this cursor belongs to another query"):
                found(connection, wrong, after=first["next"])
        for damaged in ("", "x", first["next"][:-4], "W10"):
            with pytest.raises(InvalidInput, match="this cursor"):
                found(connection, "user = ann", after=damaged)


def test_now_is_the_same_on_every_page(painted: Database) -> None:
    query, now = 'started <= "5 seconds ago"', picture.START + 15 * picture.SECOND
    with painted.reader() as connection:
        first = found(connection, query, limit=1, now=now)
        second = found(connection, query, limit=1, now=now + 10**12, after=first["next"])
        assert [each["id"] for each in second["jobs"]] == [str(picture.FAILED_JOB)]


def test_an_entity_that_is_gone_still_names_its_jobs(painted: Database) -> None:
    """Remove VM web1 has removed what one would look for it by."""
    vm = next(each for each in picture.entities if each.ref == picture.VM)
    picture.change(painted, Change(picture.entity_ref, None), Change(vm, None))
    with painted.reader() as connection:
        assert [each["id"] for each in found(connection, "vm.name = web*")["jobs"]] == [str(picture.RUNNING_JOB)]
    picture.write(painted, vm)
    picture.change(painted, Change(vm, None))
    with painted.reader() as connection:
        assert [each["id"] for each in found(connection, "web1")["jobs"]] == [str(picture.RUNNING_JOB)]


@pytest.mark.parametrize(
    ("collection", "query", "ids"),
    [
        (events.EVENTS, "", [5, 4, 3, 2, 1]),
        (events.EVENTS, "kind = job_ended", [2]),
        (events.EVENTS, "kind = task_answered", [5]),
        (events.EVENTS, "severity != info", [2]),
        (events.EVENTS, f"job = {picture.RUNNING_JOB} sortby seq", [3, 4, 5]),
        (events.EVENTS, "correlation_id = ticket-1", [2, 1]),
        (events.EVENTS, "number > 3 and message = *took*", [5]),
        (events.EVENTS, "at < 2026-01-01T00:00:03 sortby number", [1]),
        (steps.STEPS, "status = failed", [picture.FAILED_STEP_EXECUTING]),
        (steps.STEPS, "status = started", [picture.CHILD, picture.STEP_EXECUTING]),
        (steps.STEPS, "disk.name = d1", [picture.CHILD]),
        (steps.STEPS, f"parent = {picture.STEP_EXECUTING}", [picture.CHILD]),
        (steps.STEPS, "correlation_id = ticket-1", [picture.FAILED_STEP_EXECUTING]),
        (commands.COMMANDS, "result = failed", [picture.FAILED_JOB]),
        (commands.COMMANDS, "state != ended", [picture.CHILD, picture.RUNNING_JOB]),
        (commands.COMMANDS, "state = executing and name = disk.*", [picture.CHILD]),
        (commands.COMMANDS, "disk.name = d1 sortby created", [picture.FAILED_JOB, picture.CHILD]),
        (entities.of_type("vm"), "", [picture.VM.id]),
        (entities.of_type("vm"), "name = web* and status = REMOVING", [picture.VM.id]),
        (entities.of_type("vm"), "disk.name = d1", [picture.VM.id]),
        (entities.of_type("disk"), "vm.name = web1", []),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else value.name if isinstance(value, Collection) else "",
)
def test_the_other_collections_are_searched_as_well(
    painted: Database, collection: Collection, query: str, ids: list[Any]
) -> None:
    with painted.reader() as connection:
        page = found(connection, query, collection, now=picture.START)
    assert [each.get("number") or UUID(each["id"]) for each in page[collection.name]] == ids
    assert (page["next"], page["partial"]) == (None, False)


@pytest.mark.parametrize("collection", [steps.STEPS, commands.COMMANDS], ids=lambda each: each.name)
def test_what_no_index_has_in_order_is_not_listed_whole(painted: Database, collection: Collection) -> None:
    with painted.reader() as connection, pytest.raises(BadQuery, match="cannot be read in the order of"):
        found(connection, "", collection)


def test_events_are_followed_in_the_order_of_the_log(painted: Database) -> None:
    with painted.reader() as connection:
        for query, after, limit, numbers, following in (
            ("", 0, 2, [1, 2], 2),
            ("", 2, 50, [3, 4, 5], 5),
            ("kind = job_accepted", 0, 50, [1, 3], 5),
            ("kind = job_accepted", 0, 1, [1], 1),
            ("kind = none", 5, 50, [], 5),
        ):
            asked = searching.Search(events.EVENTS, query, crowd.TYPES, picture.START)
            told = searching.follow(connection, asked, after, limit=limit)
            assert ([each["number"] for each in told["events"]], told["next"]) == (numbers, following), query
        asked = searching.Search(events.EVENTS, "sortby at", crowd.TYPES, picture.START)
        with pytest.raises(BadQuery, match="comes in the order of the log"):
            searching.follow(connection, asked, 0)


def test_where_the_time_of_one_answer_is_over_the_next_goes_on_from_the_last_row_looked_at(
    painted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "LOOK_S_MAX", -1.0)
    asked = searching.Search(events.EVENTS, "kind = job_accepted", crowd.TYPES, picture.START)
    with painted.reader() as connection:
        after, answers = 0, []
        while after < 5:
            told = searching.follow(connection, asked, after, limit=1)
            answers.append(([each["number"] for each in told["events"]], told["next"]))
            after = told["next"]
    assert answers == [([1], 2), ([3], 4), ([], 5)]


@pytest.mark.parametrize(
    ("text", "wanted", "kind"),
    [
        ("", ["id", "action", "not", "vm.name"], None),
        ("stat", ["status"], "field"),
        ("status ", ["=", "!=", "in", "not in"], "operator"),
        ("ended ", ["=", "!=", "in", "not in", "<", "<=", ">", ">=", "is set", "is not set"], "operator"),
        ("status = f", ["finished", "failed"], "value"),
        ("status in (failed, ab", ["aborted"], "value"),
        ("user = ", ["ann", "bob", "eve"], "value"),
        ("vm.name = we", ["web1", "web2"], "value"),
        ("started > to", ["today"], "value"),
        ("user = ann ", ["and", "or", "sortby"], "keyword"),
        ("user = ann sortby pri", ["priority"], "field"),
        ("user = ann sortby priority ", ["asc", "desc"], "keyword"),
        ("ended is ", ["set", "not set"], "keyword"),
        ("title = 'open", [], None),
    ],
)
def test_what_may_come_next_is_told(
    crowded: tuple[Database, list[crowd.Job]], text: str, wanted: list[str], kind: str | None
) -> None:
    with crowded[0].reader() as connection:
        told = completing.complete(connection, jobs.JOBS, text, None, crowd.TYPES)
    texts = [each["text"] for each in told["candidates"]]
    if kind is None:
        assert set(wanted) <= set(texts)
        assert bool(wanted) is bool(texts)
    else:
        assert [(each["text"], each["kind"]) for each in told["candidates"]] == [(word, kind) for word in wanted]
    begun = text[told["from"] :]
    assert all(word.startswith(begun) for word in texts)
