"""What /openapi.json says beyond what FastAPI finds out by itself: bodies of two kinds, and problems."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from .auth.scopes import RequiredScope, required_scope
from .openapi_problems import describe
from .schemas.filters import Filter
from .schemas.problem import Problem
from .schemas.search import ExplainRequest, SearchRequest

REF = "#/components/schemas/{model}"
FILE = {"type": "string", "format": "binary"}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "Made by `vicmae keys create`; needed once there are keys. `x-scope` says which scope an "
    "operation asks for; admin may everything.",
}


class DescribedApp(FastAPI):
    """A FastAPI application whose errors are described as the problems they are."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _schema(self)
        return self.openapi_schema


def form_body(required: Sequence[str], json_schema: str | None = None, **properties: Any) -> dict[str, Any]:
    """What /openapi.json says of a form: its fields as JSON schemas; json_schema: the schema of JSON in its place."""
    form = {"type": "object", "required": list(required), "properties": properties}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if json_schema is not None:
        content = {"application/json": {"schema": {"$ref": REF.format(model=json_schema)}}, **content}
    return {"required": True, "content": content}


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas: dict[str, Any] = schema["components"]["schemas"]
    # FastAPI announces its own shape for wrong requests, which problems.py replaces.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (Filter, SearchRequest, ExplainRequest, Problem):
        _add(schemas, model)
    # Checked by index.filters, which names places better than a choice of models could.
    schemas["SearchRequest"]["properties"]["filter"] = {"$ref": REF.format(model="Filter")}
    schema["components"]["securitySchemes"] = {"key": KEY}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            describe(path, method.upper(), operation)
            _tell_scope(operation, required_scope(method.upper(), path))
    return schema


def _tell_scope(operation: dict[str, Any], needed: RequiredScope) -> None:
    """A key where one is needed, or none on a server that has none."""
    operation["security"] = [{}] if needed is None else [{"key": []}, {}]
    if needed is not None:
        operation["x-scope"] = needed


def _add(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    described = model.model_json_schema(ref_template=REF)
    schemas.update(described.pop("$defs", {}))
    if "$ref" not in described:  # a model that holds itself stands among its own definitions
        schemas[model.__name__] = described
