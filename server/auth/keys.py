"""API keys: made, listed, revoked, recognised. One file, DATA/keys.json; a running server sees changes at once.

Only a hash of each key is stored. A key is 256 random bits, so one round of SHA-256 is enough: there is nothing to
guess. Once the file is there keys are needed, also when the last one was revoked. Knows no HTTP.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from ...errors import InvalidRequest, NotFound, StorageError
from ...index.atomic import atomic_file
from ...index.locks import file_lock

Scope = Literal["embed", "search", "index", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MEANINGS: dict[Scope, str] = {
    "embed": "turn pictures and clips into vectors; nothing is stored",
    "search": "read collections and their files, and search them",
    "index": "add, change and remove items, and run jobs",
    "admin": "everything, collections and snapshots included",
}
PREFIX = "vicmae"


@dataclass(frozen=True)
class Key:
    """What is known of a key. `secret_sha256` is all that is kept of the secret itself."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    requests_per_second: float | None  # None: the server's setting
    created_at: str
    secret_sha256: str

    def may(self, scope: Scope) -> bool:
        """Whether the key was made for this; admin is made for everything."""
        return scope in self.scopes or "admin" in self.scopes


class Keys:
    """The keys of one data folder. Any thread and any process may use it at the same time."""

    def __init__(self, data: Path) -> None:
        self.path = data / "keys.json"
        self._seen: tuple[int, int, int] | None = None  # mtime, size and inode of what was read last
        self._known: dict[str, Key] = {}

    @property
    def are_needed(self) -> bool:
        """Whether this data folder is served to holders of keys only."""
        return self.path.exists()

    def create(self, name: str, scopes: Iterable[str], requests_per_second: float | None = None) -> tuple[Key, str]:
        """A new key and its full text, which nobody can read again. Raises InvalidRequest, StorageError."""
        wanted = check_scopes(scopes)
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidRequest(f"The name of a key is 1 to 100 visible characters, got {name!r}.")
        secret = secrets.token_urlsafe(32)
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(secrets.token_hex(4), name.strip(), wanted, requests_per_second, made_at, _hash(secret))
        with self._changing() as known:
            known[key.id] = key
        return key, f"{PREFIX}_{key.id}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """Forgets a key: it opens nothing any more. Raises NotFound, StorageError."""
        with self._changing() as known:
            if key_id not in known:
                raise NotFound(f"There is no key {key_id!r} in {self.path}. `vicmae keys list` names those there are.")
            return known.pop(key_id)

    def list(self) -> tuple[Key, ...]:
        """Every key, oldest first. Raises StorageError for a file that cannot be read: then nobody gets in."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen, self._known = None, {}
            return ()
        except OSError as error:
            raise StorageError(f"The keys in {self.path} cannot be read: {error.strerror}.") from error
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            self._known, self._seen = self._read(), seen
        return tuple(self._known.values())

    def find(self, text: str) -> Key | None:
        """The key whose full text this is, or None; takes as long for a wrong secret as for the right one."""
        self.list()
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._known.get(key_id)
        right = hmac.compare_digest(_hash(secret), key.secret_sha256 if key else _hash(""))
        return key if key is not None and right and prefix == PREFIX else None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys by id, to be changed by one process at a time; on disk when it ends."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(self.path.with_suffix(".lock")):
                known = self._read() if self.path.exists() else {}
                yield known
                self._write(known)
        except OSError as error:
            raise StorageError(f"The keys in {self.path} cannot be written: {error.strerror}.") from error

    def _read(self) -> dict[str, Key]:
        try:
            rows = json.loads(self.path.read_text())["keys"]
            keys = [Key(**{**row, "scopes": check_scopes(row["scopes"])}) for row in rows]
        except OSError as error:
            raise StorageError(f"The keys in {self.path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, InvalidRequest) as error:
            raise StorageError(
                f"{self.path} is damaged ({error}); nobody gets in. Restore it, or move it away and make new keys."
            ) from error
        return {key.id: key for key in keys}

    def _write(self, known: dict[str, Key]) -> None:
        with atomic_file(self.path) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(json.dumps({"keys": [asdict(key) for key in known.values()]}, indent=2).encode())


def check_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes in their order, each once; InvalidRequest for an unknown one and for none."""
    wanted = set(scopes)
    if unknown := wanted - set(SCOPES):
        raise InvalidRequest(f"There is no scope {', '.join(sorted(unknown))}; scopes are {', '.join(SCOPES)}.")
    if not wanted:
        raise InvalidRequest(f"A key needs at least one scope of {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in wanted)


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
