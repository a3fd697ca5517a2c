"""Collections: list, make, look at, drop."""

from fastapi import APIRouter, Response

from ...errors import Conflict, NotFound, StorageError
from ...index import collection as index
from ..schemas.collections import Collection, Collections, DamagedCollection
from ..services import Here, Services

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("")
def list_collections(here: Here) -> Collections:
    """Every collection, by name; beside them those that are damaged."""
    known, damaged = here.library.survey()
    data = []
    for summary in known:
        try:
            data.append(described(here, here.library.open(summary.name)))
        except StorageError as error:
            damaged[summary.name] = str(error)
    told = [DamagedCollection(name=name, reason=reason) for name, reason in damaged.items()]
    return Collections(data=data, damaged=told)


@router.put("/{name}", responses={201: {"model": Collection, "description": "made now"}})
def put_collection(name: str, here: Here, response: Response) -> Collection:
    """Makes a collection for the running model: 201; 200 when it exists, 409 if with another model."""
    try:
        collection = here.library.open_for(name, here.engine)
    except NotFound:
        check_room(here)
        collection = here.library.create(name, here.engine)
        response.status_code = 201
        response.headers["location"] = f"/v1/collections/{name}"
    return described(here, collection)


@router.get("/{name}")
def get_collection(name: str, here: Here) -> Collection:
    """What a collection holds."""
    return described(here, here.library.open(name))


@router.delete("/{name}", status_code=204)
def delete_collection(name: str, here: Here) -> None:
    """Drops a collection with its vectors and uploaded files; files indexed from folders stay in place."""
    here.library.drop(name)


def check_room(here: Services) -> None:
    """Conflict when there are as many collections as the server makes."""
    most = here.settings.max_collections
    if len(here.library.list()) >= most:
        raise Conflict(f"There are {most} collections, as many as may be made (max_collections). Delete one first.")


def described(here: Services, collection: index.Collection) -> Collection:
    asked = collection.index.asked()
    return Collection(
        name=collection.name,
        model=collection.model,
        fingerprint=collection.fingerprint,
        searchable=here.model_fits(collection.fingerprint),
        aliases=[alias for alias, target in here.library.aliases().items() if target == collection.name],
        created_at=collection.created_at,
        queries_compared=asked.compared,
        queries_recall=asked.recall,
        **collection.stats(),
    )
