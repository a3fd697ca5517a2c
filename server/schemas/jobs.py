"""Background jobs."""

from typing import Literal

from pydantic import BaseModel, Field


class Progress(BaseModel):
    done: int
    total: int
    unit: str


class Job(BaseModel):
    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: Progress
    collection: str
    name: str | None = Field(description="the file's name as its sender gave it")
    item_id: str | None
    stage: str | None = Field(description="what is being done: embed; or candidates, align, look")
    result_url: str | None = Field(description="where the report of a finished job is: duplicates, reembed")
    error: str | None
    created_at: str
    updated_at: str


class Jobs(BaseModel):
    data: list[Job]


class Accepted(BaseModel):
    """Work that goes on in the background: a video, a search for duplicates, a collection embedded anew."""

    job: Job
