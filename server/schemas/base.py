"""What all schemas share: the base of requests, seconds, timing.

Requests refuse unknown fields, so that a misspelt name never passes silently.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Kind = Literal["image", "video"]


class Request(BaseModel):
    """The base of every JSON request."""

    model_config = ConfigDict(extra="forbid")


class Timing(BaseModel):
    """Milliseconds in each stage of the request."""

    decode_ms: float
    queue_ms: float
    engine_ms: float
    index_ms: float
    verify_ms: float
