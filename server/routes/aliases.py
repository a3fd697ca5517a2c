"""Aliases: other names of collections, which every route takes. Switching one is atomic."""

from fastapi import APIRouter, Response

from ..schemas.collections import Alias, Aliases, AliasTarget
from ..services import Here

router = APIRouter(prefix="/v1/aliases", tags=["collections"])


@router.get("")
def list_aliases(here: Here) -> Aliases:
    """Every alias, by name."""
    known = here.library.aliases()
    return Aliases(data=[Alias(alias=alias, collection=target) for alias, target in known.items()])


@router.put("/{alias}", responses={201: {"model": Alias, "description": "made now"}})
def put_alias(alias: str, wish: AliasTarget, here: Here, response: Response) -> Alias:
    """Points an alias at a collection, from one request to the next: 201; 200 when it was there."""
    if here.library.set_alias(alias, wish.collection):
        response.status_code = 201
    return Alias(alias=alias, collection=here.library.alias(alias))


@router.get("/{alias}")
def get_alias(alias: str, here: Here) -> Alias:
    """Which collection an alias names."""
    return Alias(alias=alias, collection=here.library.alias(alias))


@router.delete("/{alias}", status_code=204)
def delete_alias(alias: str, here: Here) -> None:
    """Removes an alias; its collection stays."""
    here.library.drop_alias(alias)
