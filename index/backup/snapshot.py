"""Snapshots: a collection in one file, taken while it is used; proved before it is trusted; put back in one step.

A tar of manifest.json (first), catalog.sqlite, canaries.json, pictures/… and uploads/…: plain, so that any tar can look
inside. The manifest holds the sha256 of every member. The canaries are stored vectors with their nearest, computed
exactly when the snapshot was made: a restored collection must answer the same. The index is not in it; it is made anew.
"""

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import Conflict, InvalidRequest, NotFound, StorageError
from ..aliases import check_name
from ..atomic import atomic_file, link_or_copy, scratch_folder
from ..catalog import (
    CATALOG_FILE,
    UPLOADS_FOLDER,
    Catalog,
    copy_catalog,
    count_items,
    count_vectors,
    now,
    picture_tokens,
    read_copy,
    rename,
    upload_names,
)
from ..collection import Collection
from ..library import Library
from ..paths import storage_errors
from ..pictures import PICTURES_FOLDER, SUFFIX, PictureFiles
from .canaries import canary_faults, make_canaries
from .manifest import FORMAT, MANIFEST, Manifest, Member, manifest_of, open_tar, read_manifest
from .verify import Verdict, verify

CANARIES = "canaries.json"
COPY_BYTES = 1 << 20
MEMBER = re.compile(
    rf"{re.escape(CATALOG_FILE)}|{re.escape(CANARIES)}|{UPLOADS_FOLDER}/[^/\x00]+"
    rf"|{PICTURES_FOLDER}/[0-9a-f]{{2}}/[0-9a-f]{{32}}{re.escape(SUFFIX)}"
)
TRIES = 3  # uploads and pictures may be deleted while they are gathered


def create(collection: Collection, out: Path) -> Manifest:
    """Writes the collection as it is at one moment to `out`, complete and on disk when this returns.

    Others go on reading and writing. Raises StorageError, and InvalidRequest when `out` cannot be a file.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise InvalidRequest(f"{out} cannot be written: expected a file in a folder that exists.")
    with scratch_folder(collection.folder) as scratch:
        for attempt in range(TRIES):
            try:
                _gather(collection, scratch)
                break
            except FileNotFoundError:  # an upload or a picture file was deleted between the catalog's copy and its own
                if attempt == TRIES - 1:
                    raise
        manifest = _described(collection, scratch)
        _write_tar(out, scratch, manifest)
    return manifest


def verify_snapshot(path: Path) -> tuple[Manifest, Verdict]:
    """Restores it beside itself, and compares checksums, counts, all parts and the answers of the canaries."""
    with scratch_folder(path.absolute().parent) as scratch:
        return _unpacked(path, scratch)


@contextmanager
def unpacked(path: Path, folder: Path, name: str | None = None) -> Iterator[tuple[Manifest, Path]]:
    """A verified collection in a folder within `folder`, named anew if `name`; what is left there is deleted after.

    Raises StorageError when the snapshot does not hold what it says.
    """
    with scratch_folder(folder) as scratch:
        manifest, verdict = _unpacked(path, scratch)
        if not verdict.is_well:
            raise StorageError(f"{path} was not restored. {' '.join(verdict.faults[:5])}")
        if name is not None:
            with closing(Catalog(scratch / CATALOG_FILE)) as catalog:
                rename(catalog, name)
        yield manifest, scratch


def restore(library: Library, snapshot: Path, name: str | None = None, force: bool = False) -> Collection:
    """The collection of a snapshot, under its own name or another, after it was verified.

    Conflict when there is one, unless `force`: then it is replaced, and kept until the new one stands in its
    place. Raises NotFound, InvalidRequest, StorageError.
    """
    own = read_manifest(snapshot).collection
    name = check_name(own if name is None else name)
    exists = name in library.names()
    if not exists and library.aliases.find(name) is not None:
        raise Conflict(f"{name!r} is an alias. Restore under another name, and point the alias at it.")
    if exists and not force:
        raise Conflict(
            f"The collection {name!r} exists. Restore under another name, or replace it: --force, "
            'over HTTP "force": true.'
        )
    with unpacked(snapshot, library.folder, name) as (_, folder):
        return library.adopt(folder, name, force)


def _gather(collection: Collection, scratch: Path) -> None:
    """The catalog at one moment, and all uploads and picture files that it names."""
    uploads = scratch / UPLOADS_FOLDER
    uploads.mkdir(exist_ok=True)
    pictures = PictureFiles(scratch / PICTURES_FOLDER)
    # Before the catalog: what is removed meanwhile is here all the same.
    for upload in collection.uploads.iterdir() if collection.uploads.is_dir() else ():
        if upload.is_file():
            link_or_copy(upload, uploads / upload.name)
    for some in collection.pictures.files.tokens():
        pictures.link(some, collection.pictures.files, missing_ok=True)
    (scratch / CATALOG_FILE).unlink(missing_ok=True)
    copy_catalog(collection.catalog, scratch / CATALOG_FILE)
    with read_copy(scratch / CATALOG_FILE) as db:
        names, tokens = upload_names(db), picture_tokens(db)
    for name in names:
        link_or_copy(collection.uploads / name, uploads / name)
    pictures.link(tokens, collection.pictures.files)


def _described(collection: Collection, scratch: Path) -> Manifest:
    """Writes the canaries, and says what all members hold."""
    with read_copy(scratch / CATALOG_FILE) as db:
        (scratch / CANARIES).write_text(json.dumps(make_canaries(db, collection.spec.dim)))
        items, frames = count_items(db), count_vectors(db)
        pictures = [PictureFiles(scratch / PICTURES_FOLDER).path(token) for token in sorted(picture_tokens(db))]
    uploads = sorted((scratch / UPLOADS_FOLDER).iterdir())
    paths = [scratch / CATALOG_FILE, scratch / CANARIES, *pictures, *uploads]
    members = tuple(Member(path.relative_to(scratch).as_posix(), path.stat().st_size, _sha256(path)) for path in paths)
    return Manifest(FORMAT, now(), collection.name, collection.model, collection.fingerprint, items, frames, members)


def _write_tar(path: Path, scratch: Path, manifest: Manifest) -> None:
    told = json.dumps(asdict(manifest), indent=1).encode()
    with storage_errors(f"The snapshot cannot be written to {path.parent}"):
        (scratch / MANIFEST).write_bytes(told)
        with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in (MANIFEST, *(member.name for member in manifest.members)):
                tar.add(scratch / name, name, recursive=False)


def _unpacked(path: Path, scratch: Path) -> tuple[Manifest, Verdict]:
    """The members into `scratch`, and what is wrong with them: nothing if the verdict is well."""
    with open_tar(path) as tar:
        manifest = manifest_of(tar, path)
        faults = _extract(tar, manifest, scratch)
    verdict = Verdict(faults=faults)
    if faults:
        return manifest, verdict
    try:
        with closing(Catalog(scratch / CATALOG_FILE)) as catalog:
            collection = Collection(catalog)
            verdict = verify(collection)
            verdict.faults += _compared(collection, manifest, json.loads((scratch / CANARIES).read_text()))
            collection.close()
    except (StorageError, NotFound) as error:
        verdict.faults.append(f"The catalog in it cannot be used: {error}")
    return manifest, verdict


def _extract(tar: tarfile.TarFile, manifest: Manifest, scratch: Path) -> list[str]:
    """Writes the members that the manifest names; gives what is missing, too much or changed."""
    names = {member.name for member in manifest.members if MEMBER.fullmatch(member.name)}
    faults: list[str] = []
    (scratch / UPLOADS_FOLDER).mkdir(exist_ok=True)
    try:
        for info in tar:
            source = tar.extractfile(info) if info.name in names and info.isreg() else None
            if source is not None and not (scratch / info.name).exists():
                (scratch / info.name).parent.mkdir(parents=True, exist_ok=True)
                with source, (scratch / info.name).open("xb") as file:
                    shutil.copyfileobj(source, file, COPY_BYTES)
            elif info.name != MANIFEST:
                faults.append(f"It holds {info.name!r}, which its manifest does not name.")
    except (tarfile.TarError, EOFError) as error:
        faults.append(f"It ends too early or is damaged ({error}).")
    for member in manifest.members:
        path = scratch / member.name
        if member.name not in names or not path.is_file():
            faults.append(f"Its part {member.name!r} is missing.")
        elif (path.stat().st_size, _sha256(path)) != (member.size_bytes, member.sha256):
            faults.append(f"Its part {member.name!r} is not what was written: the checksum differs.")
    return faults


def _compared(collection: Collection, manifest: Manifest, canaries: dict[str, Any]) -> Iterator[str]:
    """What differs from the manifest: counts, the model, the canaries' answers."""
    stats = collection.stats()
    for name, wanted in (("items", manifest.items), ("frames", manifest.frames)):
        if stats[name] != wanted:
            yield f"It holds {stats[name]} {name}, its manifest says {wanted}."
    if collection.fingerprint != manifest.fingerprint:
        yield f"Its vectors are of {collection.fingerprint}, its manifest says {manifest.fingerprint}."
    yield from canary_faults(collection, canaries)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
