"""The example of a rolling change, on real servers: on all of them or on none, wherever the coordinator is killed."""

import json
import shutil
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from examples.rolling_change import scene
from interlock.testing.site import Site
from tests.killing import loop

CATALOG_NAME = "examples.rolling_change.catalog:CATALOG"
#: v3 is too much for this one
WEAK = "s3"
#: as many are made though each server is well, or not, when it is first asked
COMMITS_MIN = 60


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A fleet, and a coordinator that can be killed at each step; the site's folder `fleet` is the fleet's."""
    folder = tmp_path_factory.mktemp("rolling")
    with scene.fleet(folder / "fleet") as fleet, Site(folder, forked=True, catalog=CATALOG_NAME) as site:
        site.start_server(*loop.OPTIONS, environment=site.failpoints())
        servers = list(scene.SERVERS)
        site.do("fleet.add", name="shop", folder=str(fleet), servers=servers, release=scene.FIRST_RELEASE)
        yield site


def roll_out(site: Site, release: str, order: str | None = None) -> dict[str, Any]:
    """The job, ended; with an order the coordinator is killed there, and another one goes on."""
    if order is not None:
        site.arm(order)
    job_id = loop.submitted(site, "fleet.roll_out", fleet="shop", release=release)
    if order is not None:
        assert site.server_died_of_sigkill()
        site.disarm()
        site.start_server(*loop.OPTIONS, environment=site.failpoints())
    return site.ended(job_id)


def all_show(site: Site, release: str) -> None:
    """Asserts that every server has the release and gets traffic, by servers, files and rows, and nothing is open."""
    fleet = site.folder / "fleet"
    assert scene.shown(fleet) == dict.fromkeys(scene.SERVERS, release)
    assert scene.in_use(fleet) == list(scene.SERVERS)
    assert [path.name for path in (fleet / "releases").iterdir()] == [release]
    rows = [json.loads(body) for (body,) in site.rows("SELECT body_json FROM entities WHERE type = 'server'")]
    assert [(row["release"], row["status"]) for row in rows] == [(release, "IN_USE")] * len(scene.SERVERS)
    loop.nothing_open(site, release)


def rolled_back_in_reverse(site: Site, job: dict[str, Any]) -> None:
    """Asserts that every switch that was made is undone once, the latest first; that of the weak server before all."""
    switches = (
        "SELECT {} FROM command_entities WHERE flow_id = ? AND name = 'fleet.switch' AND role = ? ORDER BY ended_seq"
    )
    flow = UUID(job["id"]).bytes
    titles = dict(site.rows(switches.format("id, title"), flow, "forward"))
    undone = [titles[id] for (id,) in site.rows(switches.format("undoes"), flow, "undo")]
    switched = [title for title in titles.values() if title != f"Switch {WEAK}"]
    assert undone == [f"Switch {WEAK}", *reversed(switched)]
    assert switched[0] == f"Switch {scene.SERVERS[0]}", "the canary is switched first, and switched back last"


def results(site: Site, job: dict[str, Any], name: str) -> list[str]:
    """How the job's commands of that name ended, in the plan's order."""
    query = "SELECT result FROM command_entities WHERE flow_id = ? AND name = ? ORDER BY position"
    return [result for (result,) in site.rows(query, UUID(job["id"]).bytes, name)]


@pytest.mark.parametrize("order", ["commit:10:after", pytest.param("commit:24:before", marks=pytest.mark.long)])
def test_a_rolling_change_goes_on_after_a_kill(served: Site, order: str) -> None:
    release = "v4" if scene.shown(served.folder / "fleet")[WEAK] == "v2" else "v2"
    job = roll_out(served, release, order)
    assert job["result"] == "SUCCEEDED", job["failure"]
    all_show(served, release)
    # the near mirror does not have v2
    assert results(served, job, "fleet.fetch") == (
        ["FAILED", "SUCCEEDED"] if release == "v2" else ["SUCCEEDED", "CANCELLED"]
    )


@pytest.mark.parametrize(
    "order", [pytest.param(order, marks=pytest.mark.long) for order in ("commit:30:after", "commit:52:before")]
)
def test_a_failing_release_is_rolled_back_everywhere_after_a_kill(served: Site, order: str) -> None:
    """In the midst of it, and while it is rolled back."""
    before = scene.shown(served.folder / "fleet")[WEAK]
    job = roll_out(served, "v3", order)
    assert job["result"] == "FAILED"
    all_show(served, before)
    rolled_back_in_reverse(served, job)


def test_past_the_old_releases_removal_nothing_is_rolled_back_and_notices_do_not_matter(served: Site) -> None:
    fleet = served.folder / "fleet"
    release = "v4" if scene.shown(fleet)[WEAK] == "v2" else "v2"
    (fleet / "registered").unlink(missing_ok=True)
    (fleet / "registered").mkdir()  # which cannot be written then
    shutil.rmtree(fleet / "notices")
    job = roll_out(served, release)
    (fleet / "registered").rmdir()
    assert job["result"] == "FAILED"
    assert "IsADirectoryError" in job["failure"]["message"]
    assert results(served, job, "fleet.write_notice") == ["FAILED", "FAILED"]
    all_show(served, release)
    [(event,)] = served.rows(
        "SELECT message FROM audit_log WHERE flow_id = ? AND kind = 'not_undone'", UUID(job["id"]).bytes
    )
    assert event.startswith("not undone, since a point of no return was passed")


@pytest.mark.long
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_failing_release_is_rolled_back_everywhere_wherever_the_coordinator_is_killed(
    served: Site, side: str
) -> None:
    """At every third commit, as far as every run has them: how often a server is asked for its health varies."""
    before = scene.shown(served.folder / "fleet")[WEAK]
    for number in range(2, COMMITS_MIN, 3):
        job = roll_out(served, "v3", f"commit:{number}:{side}")
        assert job["result"] == "FAILED", number
        all_show(served, before)
        rolled_back_in_reverse(served, job)
