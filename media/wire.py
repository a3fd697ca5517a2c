"""Messages between the sandbox and its workers: JSON with its length before it, over a Unix socket.

JSON, since what a decoder was talked into by a file must not run in the process that reads it. Frames do not pass
here: they lie in memory that both processes hold open.
"""

import json
import socket
import struct
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct("<I")
_MAX_BYTES = 4 * 2**20


def send(channel: socket.socket, message: Message, file: int | None = None) -> None:
    """The message, and an open file with it. OSError when nobody is at the other end."""
    text = json.dumps(message).encode()
    head = _LENGTH.pack(len(text))
    if file is None:
        channel.sendall(head + text)
        return
    socket.send_fds(channel, [head], [file])
    channel.sendall(text)


def receive(channel: socket.socket) -> tuple[Message, int | None]:
    """The next message, and the file that came with it, which is the caller's to close.

    TimeoutError when it does not come in time, EOFError when the other end is closed or sends no message.
    """
    head, files, _, _ = socket.recv_fds(channel, _LENGTH.size, 1)
    head += _exactly(channel, _LENGTH.size - len(head)) if head else b""
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _MAX_BYTES:
        raise EOFError
    try:
        message = json.loads(_exactly(channel, length))
    except ValueError as error:
        raise EOFError from error
    if not isinstance(message, dict):
        raise EOFError
    return message, files[0] if files else None


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = channel.recv(min(count, 2**16))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
