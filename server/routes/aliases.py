"""Aliases: other names of collections, which every route takes. Switching one is atomic."""

from fastapi import APIRouter, Response

from ..dependencies import ServicesDependency
from ..schemas.collections import Alias, Aliases, AliasTarget

router = APIRouter(prefix="/v1/aliases", tags=["collections"])


@router.get("")
def list_aliases(services: ServicesDependency) -> Aliases:
    """Every alias, by name."""
    known = services.library.aliases.all()
    return Aliases(data=[Alias(alias=alias, collection=target) for alias, target in known.items()])


@router.put("/{alias}", responses={201: {"model": Alias, "description": "made now"}})
def put_alias(alias: str, body: AliasTarget, services: ServicesDependency, response: Response) -> Alias:
    """Points an alias at a collection, from one request to the next: 201; 200 when it was there."""
    if services.library.set_alias(alias, body.collection):
        response.status_code = 201
    return Alias(alias=alias, collection=services.library.aliases.target(alias))


@router.get("/{alias}")
def get_alias(alias: str, services: ServicesDependency) -> Alias:
    """Which collection an alias names."""
    return Alias(alias=alias, collection=services.library.aliases.target(alias))


@router.delete("/{alias}", status_code=204)
def delete_alias(alias: str, services: ServicesDependency) -> None:
    """Removes an alias; its collection stays."""
    services.library.aliases.remove(alias)
