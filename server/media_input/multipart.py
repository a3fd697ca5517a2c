"""A multipart body -> files and form fields, as it streams in: never a large file in memory.

Files land in a folder of the data directory, so that keeping one is a rename. What the caller leaves there is
deleted when the request ends, also when the client went away half way. A form that comes in one piece, and whose files
nobody keeps, needs no disk. Knows nothing of media.
"""

import asyncio
import io
import os
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from ...errors import InvalidRequest, StorageError

MAX_FIELDS = 32
MAX_FIELD_BYTES = 256 * 1024
WRITE_BYTES = 1024 * 1024
INLINE_BYTES = 128 * 1024  # of a form that is parsed sooner than a thread takes it over


@dataclass(frozen=True)
class Upload:
    """A received file: what its sender called it, and what it holds: a file on disk, or the bytes themselves.

    digest  sha256 of the file on disk, computed on the way; of bytes it is computed when asked for
    """

    name: str
    source: Path | bytes
    size_bytes: int
    digest: str = ""

    @property
    def path(self) -> Path:
        """For those who keep it, which is said to received_form."""
        assert isinstance(self.source, Path)
        return self.source

    @cached_property
    def sha256(self) -> str:
        return sha256(self.source).hexdigest() if isinstance(self.source, bytes) else self.digest


@dataclass
class Form:
    """A received form: its text fields, and the files of the field `file` in order."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)

    def one_file(self) -> Upload:
        """The only file; InvalidRequest when there is none or more."""
        if len(self.files) != 1:
            raise InvalidRequest(f"Expected one multipart field named 'file' with a file in it, got {len(self.files)}.")
        return self.files[0]

    def only(self, *allowed: str) -> None:
        """InvalidRequest when a field is not among `allowed`: a misspelt name must not pass silently."""
        for name in self.fields:
            if name not in allowed:
                raise InvalidRequest(f"Unknown form field {name!r}; known are: {', '.join(('file', *allowed))}.")


@asynccontextmanager
async def read_form(request: Request, folder: Path, max_files: int = 1, keeps: bool = True) -> AsyncIterator[Form]:
    """Reads the request's multipart body. Files still in `folder` at the end are deleted.

    keeps  whether the caller wants files on disk; else those of a form below WRITE_BYTES stay in memory
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if content_type != b"multipart/form-data" or not boundary:
        told = request.headers.get("content-type", "no content type")
        raise InvalidRequest(f"Expected a multipart/form-data body with a boundary, got {told!r}.")
    reader = _Reader(boundary, folder, max_files)
    try:
        waiting: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            waiting.append(chunk)
            size += len(chunk)
            if size >= WRITE_BYTES:
                keeps = True
                await asyncio.to_thread(reader.take, b"".join(waiting))
                waiting.clear()
                size = 0
        reader.in_memory = not keeps
        if reader.in_memory and size <= INLINE_BYTES:
            reader.take(b"".join(waiting))
        else:
            await asyncio.to_thread(reader.take, b"".join(waiting))
        yield reader.finish()
    finally:
        reader.clean_up()


def client_name(raw: str) -> str:
    """The last part of a file name as sent, without control characters: for showing, never for opening."""
    last = PurePosixPath(raw.replace("\\", "/")).name
    shown = re.sub(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "", last).strip()[:255]
    return shown if shown not in ("", ".", "..") else "upload"


class _Reader:
    """Callbacks of the multipart parser, and the files they opened."""

    def __init__(self, boundary: bytes, folder: Path, max_files: int) -> None:
        self.form = Form()
        self.folder = folder
        self.max_files = max_files
        self.in_memory = False
        self.complete = False
        self.created: list[Path] = []
        self.headers: dict[bytes, bytes] = {}
        self.header_name = self.header_value = b""
        self.field_name = self.file_name = ""
        self.field_data = bytearray()
        self.file: BinaryIO | None = None
        self.digest = sha256()
        try:
            self.parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self.on_part_begin,
                    "on_header_field": self.on_header_field,
                    "on_header_value": self.on_header_value,
                    "on_header_end": self.on_header_end,
                    "on_headers_finished": self.on_headers_finished,
                    "on_part_data": self.on_part_data,
                    "on_part_end": self.on_part_end,
                    "on_end": self.on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"The multipart boundary is not usable: {error}.") from error

    def take(self, data: bytes) -> None:
        """Parses the next bytes of the body and writes what belongs to files."""
        try:
            self.parser.write(data)
        except FormParserError as error:
            raise InvalidRequest(f"The multipart body is broken: {error}.") from error
        except OSError as error:
            raise StorageError(f"The upload could not be written: {error.strerror}. Is the disk full?") from error

    def finish(self) -> Form:
        if not self.complete:
            raise InvalidRequest("The multipart body ended before its last boundary.")
        return self.form

    def clean_up(self) -> None:
        if self.file is not None:
            with suppress(OSError):  # what could not be written is told already
                self.file.close()
        for path in self.created:
            path.unlink(missing_ok=True)

    def on_part_begin(self) -> None:
        self.headers = {}
        self.field_data = bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]

    def on_header_end(self) -> None:
        self.headers[self.header_name.lower()] = self.header_value
        self.header_name = self.header_value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self.headers.get(b"content-disposition", b""))
        self.field_name = options.get(b"name", b"").decode("utf-8", "replace")
        if not self.field_name:
            raise InvalidRequest("A part of the multipart body has no name.")
        if b"filename" in options:
            self._open_file(options[b"filename"].decode("utf-8", "replace"))
        elif len(self.form.fields) >= MAX_FIELDS:
            raise InvalidRequest(f"More than {MAX_FIELDS} form fields.")

    def _open_file(self, name: str) -> None:
        if self.field_name not in ("file", "file[]", "files"):
            raise InvalidRequest(f"The file is in the field {self.field_name!r}, expected the field 'file'.")
        if len(self.form.files) >= self.max_files:
            raise InvalidRequest(f"More files than the {self.max_files} that fit in this request.")
        self.file_name = client_name(name)
        if self.in_memory:
            self.file = io.BytesIO()
            return
        self.digest = sha256()
        path = self.folder / uuid.uuid4().hex
        self.created.append(path)
        self.file = path.open("xb")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self.file is not None:
            self.file.write(piece)
            if not self.in_memory:
                self.digest.update(piece)
            return
        self.field_data += piece
        if len(self.field_data) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"The form field {self.field_name!r} is larger than {MAX_FIELD_BYTES} bytes.")

    def on_part_end(self) -> None:
        if self.file is None:
            try:
                self.form.fields[self.field_name] = self.field_data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InvalidRequest(f"The form field {self.field_name!r} is not UTF-8 text.") from error
            return
        self.form.files.append(self._received(self.file))
        self.file.close()
        self.file = None

    def _received(self, file: BinaryIO) -> Upload:
        if isinstance(file, io.BytesIO):
            return Upload(self.file_name, file.getvalue(), file.tell())
        file.flush()
        return Upload(self.file_name, self.created[-1], os.fstat(file.fileno()).st_size, self.digest.hexdigest())

    def on_end(self) -> None:
        self.complete = True
