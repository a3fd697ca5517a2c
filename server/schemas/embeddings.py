"""OpenAI's shape of embeddings, with pictures and clips in place of text."""

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from .base import Kind, Request, Timing

EncodingFormat = Literal["float", "base64"]


class EmbeddingsRequest(Request):
    """OpenAI's shape, with pictures and short clips as data URLs in place of text."""

    input: JsonValue = Field(
        description='a data URL (data:image/jpeg;base64,… or data:video/mp4;base64,…), an address ({"url": …}, where '
        "the server fetches from its host), or a list of them",
        examples=[["data:image/jpeg;base64,/9j/4AAQ…"]],
    )
    model: str | None = Field(None, description="the served model's name; may be left out")
    encoding_format: EncodingFormat = Field("float", description="base64 gives little-endian float32")
    dimensions: int | None = Field(None, description="accepted only when it is the model's own dimension")
    user: str | None = Field(None, description="accepted and ignored, for OpenAI clients")


class FrameEmbedding(BaseModel):
    """One sampled frame of a clip."""

    start_seconds: float
    embedding: list[float] | str


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    kind: Kind
    frames: list[FrameEmbedding] | None = Field(None, description="only where the request asked for frames")


class EmbeddingsUsage(BaseModel):
    prompt_tokens: int = 0
    total_tokens: int = 0
    images: int
    frames: int = Field(description="pictures that went through the model, frames of clips included")


class Embeddings(BaseModel):
    """OpenAI's list of embeddings, unit length; a clip's is the normalised mean of its frames'."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    timing: Timing
