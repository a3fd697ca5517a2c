"""The shape of every error."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """RFC 9457 application/problem+json: the shape of every error."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None = None
    limit: str | None = Field(None, description="the setting whose limit was met, such as max_pixels")
