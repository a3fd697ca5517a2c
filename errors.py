"""Every error that vicmae raises on purpose, in one tree.

    VicmaeError
    ├── MediaError              a file or upload that cannot become Frames
    │   ├── UnsupportedMedia    not a picture or video we read (a text file, a sound file, an unknown codec)
    │   ├── CorruptMedia        the right kind, but broken: truncated, damaged, empty
    │   └── MediaTooLarge       over a limit: bytes, pixels, frames or seconds
    ├── FetchError              an address whose host does not answer as it should
    ├── InvalidRequest          a request or argument that makes no sense as it stands
    ├── Unauthorized            a key is needed and none, or none that is known, came with the request
    ├── Forbidden               the person who runs this has not allowed it
    │   └── MissingScope        the key is known, and not made for this
    ├── NotFound                a collection, item, job or file that is not there
    │   └── FileGone            the item is there, its original file is not
    ├── Conflict                it exists already, or its state forbids the wish
    │   └── ModelMismatch       vectors of two different models never meet in one collection
    ├── BundleError             a bundle folder that is missing, incomplete or changed
    │   └── DriftError          an engine whose vectors are not the trained model's vectors
    ├── EngineError             an engine that cannot start or run on this machine
    ├── CheckpointError         a weights file that is not what the reader expects
    ├── TrainingError           training cannot start or go on (no data, too many bad items, bad preset)
    ├── StorageError            the disk or the database refuses (full, read-only, damaged)
    └── Overloaded              no room in the queue now; come back later
        └── TooManyRequests     this key asks more often than it may

The base classes serve the caller's `except`. A message is written for the person who reads it: what came,
what was expected, what to do. This module knows nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class VicmaeError(Exception):
    """The root: everything raised on purpose. `str(error)` is a full sentence for the user.

    parameter: the field of the request that the error is about, such as `input[27]`; None where it is not known
    """

    parameter: str | None = None


class MediaError(VicmaeError):
    """A file or upload that cannot become Frames."""


class UnsupportedMedia(MediaError):
    """Not a picture or video we can read."""


class CorruptMedia(MediaError):
    """A picture or video that is damaged, truncated or empty."""


class MediaTooLarge(MediaError):
    """Over a limit of bytes, pixels, frames or seconds; the message names the limit, and `limit` is its setting."""

    def __init__(self, message: str, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit


class FetchError(VicmaeError):
    """An address in a request whose host cannot be reached, is too slow, or sends something else than a file."""


class InvalidRequest(VicmaeError):
    """A request or argument that makes no sense as it stands."""


class Forbidden(VicmaeError):
    """A wish that the person who runs this has not allowed; the message says what would allow it."""


class Unauthorized(VicmaeError):
    """A key is needed, and none, or none that is known, came with the request."""


class MissingScope(Forbidden):
    """A known key that was not made for this."""


class NotFound(VicmaeError):
    """Something named by the caller that is not there."""


class FileGone(NotFound):
    """An item whose original file was moved, deleted or changed since it was indexed."""


class Conflict(VicmaeError):
    """The wish contradicts what is stored."""


class ModelMismatch(Conflict):
    """A collection holds vectors of another model; the message says how to re-embed."""


class BundleError(VicmaeError):
    """A bundle that is missing, incomplete or altered."""


class DriftError(BundleError):
    """An engine file whose vectors differ too much from the fp32 PyTorch encoder's."""


class EngineError(VicmaeError):
    """An engine that cannot start or run here."""


class CheckpointError(VicmaeError):
    """A weights file that is not what was expected."""


class TrainingError(VicmaeError):
    """Training cannot start or go on."""


class StorageError(VicmaeError):
    """The disk or the database refuses: full, read-only or damaged."""


class Overloaded(VicmaeError):
    """No room now. `retry_after_seconds` says when to come back."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyRequests(Overloaded):
    """This key asks more often than it may."""


@contextmanager
def naming(parameter: str) -> Iterator[None]:
    """An error about an input that is raised within the block names this field of the request, such as `input[27]`."""
    try:
        yield
    except (MediaError, FetchError, InvalidRequest, Forbidden) as error:
        error.parameter = parameter
        error.args = (f"{parameter}: {error}",)
        raise
