"""vicmae.index.catalog.jobs: work that outlives a request."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_items import ENGINE, new_item

from vicmae.errors import Conflict, NotFound
from vicmae.index.catalog.jobs import (
    add_job,
    advance_job,
    cancel_job,
    claim_job,
    finish_job,
    get_job,
    list_jobs,
    requeue,
)
from vicmae.index.collection import Collection
from vicmae.index.library import Library


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def test_a_job_goes_its_way(collection: Collection) -> None:
    job = add_job(collection.catalog, "ingest", "item", {"file": "x"})
    assert (job.state, job.payload) == ("queued", {"file": "x"})
    assert get_job(collection.catalog, job.id) == job
    claimed = claim_job(collection.catalog)
    assert claimed is not None and (claimed.id, claimed.state) == (job.id, "running")
    assert claim_job(collection.catalog) is None
    advance_job(collection.catalog, job.id, "embed", 3, 10)
    finish_job(collection.catalog, job.id, "failed", "decode", "It broke.")
    ended = get_job(collection.catalog, job.id)
    assert (ended.state, ended.stage, ended.done, ended.total, ended.reason) == (
        "failed",
        "decode",
        3,
        10,
        "It broke.",
    )


def test_a_job_for_an_id_that_is_taken_is_refused_where_it_must_not_replace(collection: Collection) -> None:
    job = add_job(collection.catalog, "ingest", "a", {}, replaces=False)
    with pytest.raises(Conflict, match="'a'"):
        add_job(collection.catalog, "ingest", "a", {}, replaces=False)
    add_job(collection.catalog, "ingest", "b", {}, replaces=False)
    cancel_job(collection.catalog, job.id)
    add_job(collection.catalog, "ingest", "a", {}, replaces=False)
    collection.add(new_item(1, id="c"))
    with pytest.raises(Conflict, match="'c'"):
        add_job(collection.catalog, "ingest", "c", {}, replaces=False)
    add_job(collection.catalog, "ingest", "c", {})


def test_the_oldest_goes_first_and_the_newest_is_listed_first(collection: Collection) -> None:
    made = [add_job(collection.catalog, "ingest", None, {}).id for _ in range(3)]
    assert [job.id for job in list_jobs(collection.catalog)] == made[::-1]
    claimed = claim_job(collection.catalog)
    assert claimed is not None and claimed.id == made[0]


def test_what_a_dead_process_left_running_is_given_back(collection: Collection) -> None:
    job = add_job(collection.catalog, "ingest", None, {})
    claim_job(collection.catalog)
    assert requeue(collection.catalog) == 1
    assert get_job(collection.catalog, job.id).state == "queued"


def test_only_a_waiting_job_can_be_cancelled(collection: Collection) -> None:
    job = add_job(collection.catalog, "ingest", None, {})
    assert cancel_job(collection.catalog, job.id).state == "cancelled"
    assert claim_job(collection.catalog) is None
    running = add_job(collection.catalog, "ingest", None, {})
    claim_job(collection.catalog)
    with pytest.raises(Conflict, match="running"):
        cancel_job(collection.catalog, running.id)
    with pytest.raises(NotFound):
        cancel_job(collection.catalog, "nobody")


def test_a_running_job_that_was_cancelled_learns_it_and_stays_so(collection: Collection) -> None:
    job = add_job(collection.catalog, "scan", None, {})
    claim_job(collection.catalog)
    assert advance_job(collection.catalog, job.id, "read", 1, 9)
    assert cancel_job(collection.catalog, job.id, "running").state == "cancelled"
    assert not advance_job(collection.catalog, job.id, "read", 2, 9)
    finish_job(collection.catalog, job.id, "succeeded")
    ended = get_job(collection.catalog, job.id)
    assert (ended.state, ended.done) == ("cancelled", 2)
    assert requeue(collection.catalog) == 0
