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
_PIECE_BYTES = 2**18


class Channel:
    """One end of a socket. A message goes out and comes in by one call of the system, where it is short."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._early = b""  # of the next message, come together with the one before

    def wait_at_most(self, seconds: float | None) -> None:
        """From here on, for each piece; None for ever."""
        if self.socket.gettimeout() != seconds:
            self.socket.settimeout(seconds)

    def send(self, message: Message, file: bytes = b"") -> None:
        """The message, and the bytes of a file with it. OSError when nobody is at the other end."""
        text = json.dumps(message).encode()
        self.socket.sendall(b"".join((_HEAD.pack(len(text), len(file)), text, file[:_PIECE_BYTES])))
        if len(file) > _PIECE_BYTES:
            self.socket.sendall(memoryview(file)[_PIECE_BYTES:])

    def receive(self, max_file_bytes: int = 0) -> tuple[Message, bytes]:
        """The next message, and the file that came with it.

        TimeoutError when it does not come in time, EOFError when the other end is closed, sends no message or too much.
        """
        length, file_bytes = _HEAD.unpack(self._exactly(_HEAD.size))
        if length > _MAX_BYTES or file_bytes > max_file_bytes:
            raise EOFError
        try:
            message = json.loads(self._exactly(length))
        except ValueError as error:
            raise EOFError from error
        if not isinstance(message, dict):
            raise EOFError
        return message, self._exactly(file_bytes)

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        parts, missing = [self._early], count - len(self._early)
        while missing > 0:
            part = self.socket.recv(_PIECE_BYTES)
            if not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        come = parts[-1] if len(parts) == 2 and not parts[0] else b"".join(parts)
        self._early = come[count:]
        return come[:count]
