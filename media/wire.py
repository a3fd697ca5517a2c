"""Messages between the sandbox and its workers over a Unix socket: JSON with its length before it, and maybe a file.

JSON, since what a decoder was talked into by a file must not run in the process that reads it. Frames do not pass
here: they lie in memory that both processes hold open.
"""

import json
import socket
import struct
from typing import Any

Message = dict[str, Any]

_HEAD = struct.Struct("<IQ")  # bytes of JSON, bytes of the file behind it
_MAX_BYTES = 4 * 2**20
_PIECE_BYTES = 2**20


def send(channel: socket.socket, message: Message, file: bytes = b"") -> None:
    """The message, and the bytes of a file with it. OSError when nobody is at the other end."""
    text = json.dumps(message).encode()
    # One piece of what is short, so that the other end wakes up once.
    channel.sendall(b"".join((_HEAD.pack(len(text), len(file)), text, file[:_PIECE_BYTES])))
    if len(file) > _PIECE_BYTES:
        channel.sendall(memoryview(file)[_PIECE_BYTES:])


def receive(channel: socket.socket, max_file_bytes: int = 0) -> tuple[Message, bytes]:
    """The next message, and the file that came with it.

    TimeoutError when it does not come in time, EOFError when the other end is closed, sends no message or too much.
    """
    length, file_bytes = _HEAD.unpack(_exactly(channel, _HEAD.size))
    if length > _MAX_BYTES or file_bytes > max_file_bytes:
        raise EOFError
    try:
        message = json.loads(_exactly(channel, length))
    except ValueError as error:
        raise EOFError from error
    if not isinstance(message, dict):
        raise EOFError
    return message, _exactly(channel, file_bytes)


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = channel.recv(min(count, _PIECE_BYTES))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
