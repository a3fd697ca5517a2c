"""Collections: list, make, look at, drop."""

from fastapi import APIRouter, Response

from ...errors import Conflict, NotFound, StorageError
from ...index import collection as index
from ..dependencies import ServicesDependency
from ..schemas.collections import Collection, Collections, DamagedCollection
from ..services import Services
from ..urls import collection_url

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("")
def list_collections(services: ServicesDependency) -> Collections:
    """Every collection, by name; beside them those that are damaged."""
    known, damaged = services.library.survey()
    data = []
    for collection in known:
        try:
            data.append(collection_schema(services, collection))
        except StorageError as error:
            damaged[collection.name] = str(error)
    damaged_schemas = [DamagedCollection(name=name, reason=reason) for name, reason in damaged.items()]
    return Collections(data=data, damaged=damaged_schemas)


@router.put("/{name}", responses={201: {"model": Collection, "description": "made now"}})
def put_collection(name: str, services: ServicesDependency, response: Response) -> Collection:
    """Makes a collection for the running model: 201; 200 when it exists, 409 if with another model."""
    try:
        collection = services.library.open_for(name, services.engine)
    except NotFound:
        check_collection_count(services)
        collection = services.library.create(name, services.engine)
        response.status_code = 201
        response.headers["location"] = collection_url(name)
    return collection_schema(services, collection)


@router.get("/{name}")
def get_collection(name: str, services: ServicesDependency) -> Collection:
    """What a collection holds."""
    return collection_schema(services, services.library.open(name))


@router.delete("/{name}", status_code=204)
def delete_collection(name: str, services: ServicesDependency) -> None:
    """Drops a collection with its vectors and uploaded files; files indexed from folders stay in place."""
    services.library.drop(name)


def check_collection_count(services: Services) -> None:
    """Conflict when there are as many collections as the server makes."""
    most = services.settings.max_collections
    if len(services.library.names()) >= most:
        raise Conflict(f"There are {most} collections, as many as may be made (max_collections). Delete one first.")


def collection_schema(services: Services, collection: index.Collection) -> Collection:
    return Collection(
        name=collection.name,
        model=collection.model,
        fingerprint=collection.fingerprint,
        searchable=services.model_fits(collection.fingerprint),
        aliases=[*services.library.aliases.of(collection.name)],
        created_at=collection.created_at,
        **collection.stats(),
    )
