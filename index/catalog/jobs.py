"""Jobs: work that outlives a request, as rows in the catalog. Who runs them is the server's business.

A job is queued -> running -> succeeded | failed; while queued or running it can be cancelled, and who runs it learns
so when it tells how far it is. A process that dies leaves its jobs "running"; `requeue` gives them back at the
next start.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import Conflict, NotFound
from .database import Catalog, now

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Job:
    """One job. `done` of `total` steps of the current stage; total 0 when it is not known yet."""

    id: str
    kind: str
    item_id: str | None
    state: JobState
    stage: str | None
    done: int
    total: int
    reason: str | None
    created_at: str
    updated_at: str
    payload: dict[str, Any]


_COLUMNS = tuple(Job.__dataclass_fields__)
_JOBS = f"SELECT {', '.join(_COLUMNS)} FROM jobs"
_TAKEN = (
    "SELECT 1 FROM media WHERE id = ? "
    "UNION ALL SELECT 1 FROM jobs WHERE item_id = ? AND state IN ('queued', 'running') LIMIT 1"
)


def add_job(catalog: Catalog, kind: str, item_id: str | None, payload: dict[str, Any], replaces: bool = True) -> Job:
    """Commits a queued job; its id is unique over all collections.

    replaces  False: Conflict where there is an item of this id, or a job that waits or runs for it
    """
    moment = now()
    job = Job("j" + secrets.token_hex(10), kind, item_id, "queued", None, 0, 0, None, moment, moment, payload)
    values = [getattr(job, name) for name in _COLUMNS[:-1]]
    with catalog.write() as db:
        if not replaces and db.execute(_TAKEN, (item_id, item_id)).fetchone():
            raise Conflict(f"The item {item_id!r} exists already, or a job makes it. Choose another id.")
        db.execute(
            f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
            [*values, json.dumps(payload)],
        )
    return job


def get_job(catalog: Catalog, job_id: str) -> Job:
    """The job, or NotFound."""
    with catalog.read() as db:
        row = db.execute(f"{_JOBS} WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no job {job_id!r} in the collection {catalog.folder.name!r}.")
    return _job(row)


def list_jobs(catalog: Catalog, limit: int = 100, kind: str | None = None) -> list[Job]:
    """The newest jobs, newest first; only those of one kind, if it is given."""
    rows = f"{_JOBS} WHERE kind = coalesce(?, kind) ORDER BY created_at DESC, id LIMIT ?"
    with catalog.read() as db:
        return [_job(row) for row in db.execute(rows, (kind, limit))]


def count_jobs(catalog: Catalog) -> dict[JobState, int]:
    """How many jobs there are in each state that any is in."""
    with catalog.read() as db:
        return dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state"))


def claim_job(catalog: Catalog, kinds: Sequence[str] | None = None) -> Job | None:
    """The oldest queued job (of those kinds), now running and ours; None when nothing waits."""
    among = "" if kinds is None else f" AND kind IN ({', '.join('?' * len(kinds))})"
    with catalog.write() as db:
        waiting = f"{_JOBS} WHERE state = 'queued'{among} ORDER BY created_at, id LIMIT 1"
        row = db.execute(waiting, tuple(kinds or ())).fetchone()
        if row is None:
            return None
        db.execute("UPDATE jobs SET state = 'running', updated_at = ? WHERE id = ?", (now(), row[0]))
    return get_job(catalog, row[0])


def advance_job(catalog: Catalog, job_id: str, stage: str, done: int, total: int) -> bool:
    """Says how far a running job is -> whether it shall go on; False when it was cancelled."""
    with catalog.write() as db:
        found = db.execute(
            "UPDATE jobs SET stage = ?, done = ?, total = ?, updated_at = ? WHERE id = ? RETURNING state",
            (stage, done, total, now(), job_id),
        ).fetchone()
    return found is not None and found[0] == "running"


def finish_job(
    catalog: Catalog,
    job_id: str,
    state: Literal["succeeded", "failed", "cancelled"],
    stage: str | None = None,
    reason: str | None = None,
) -> None:
    """Ends a job; a failed one says at which stage and why. One that was cancelled stays so."""
    with catalog.write() as db:
        db.execute(
            "UPDATE jobs SET state = ?, stage = coalesce(?, stage), reason = ?, updated_at = ? "
            "WHERE id = ? AND state != 'cancelled'",
            (state, stage, reason, now(), job_id),
        )


def keep_result(catalog: Catalog, job_id: str, result: dict[str, Any]) -> None:
    """Stores what a job found, to be read when it has succeeded."""
    with catalog.write() as db:
        db.execute("INSERT OR REPLACE INTO results (job_id, body) VALUES (?, ?)", (job_id, json.dumps(result)))


def result_of(catalog: Catalog, job_id: str, kind: str) -> dict[str, Any]:
    """What keep_result stored for a job of that kind. Raises NotFound while there is nothing."""
    job = get_job(catalog, job_id)
    with catalog.read() as db:
        row = db.execute("SELECT body FROM results WHERE job_id = ?", (job_id,)).fetchone()
    if row is None or job.state != "succeeded" or job.kind != kind:
        told = f"is {job.state}" if job.kind == kind else f"is of the kind {job.kind}"
        raise NotFound(f"The job {job_id!r} {told}; a {kind} job that has succeeded has a result here.")
    result: dict[str, Any] = json.loads(row[0])
    return result


def cancel_job(catalog: Catalog, job_id: str, while_: Literal["queued", "running"] = "queued") -> Job:
    """Cancels a job in that state; a running one stops at its next step. NotFound; Conflict in another state."""
    with catalog.write() as db:
        cancelled = db.execute(
            "UPDATE jobs SET state = 'cancelled', updated_at = ? WHERE id = ? AND state = ?",
            (now(), job_id, while_),
        ).rowcount
    job = get_job(catalog, job_id)
    if not cancelled:
        raise Conflict(f"The job {job_id!r} is {job.state}; one that is {while_} was to be cancelled.")
    return job


def requeue(catalog: Catalog, job_id: str | None = None) -> int:
    """Puts a running job, or all that a dead process left running, back in the queue; returns how many."""
    with catalog.write() as db:
        return db.execute(
            "UPDATE jobs SET state = 'queued', done = 0, updated_at = ? "
            "WHERE state = 'running' AND id = coalesce(?, id)",
            (now(), job_id),
        ).rowcount


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Job(**{**values, "payload": json.loads(values["payload"])})
