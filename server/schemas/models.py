"""The model that runs."""

from typing import Literal

from pydantic import BaseModel, Field


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "vicmae"
    fingerprint: str = Field(description="vectors are comparable exactly when their fingerprints are equal")
    dim: int
    size: int
    runtime: str = Field(description="what computes the vectors, such as onnxruntime")
    device: str
    precision: str
    explains: bool = Field(description="whether it gives the patch tokens that explanations are made of")


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
