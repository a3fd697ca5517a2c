"""How long the frames of a GIF last, from its blocks alone: decoding them all to learn that takes seconds.

Knows nothing of pixels.
"""

from typing import BinaryIO

_EXTENSION, _IMAGE, _CONTROL = 0x21, 0x2C, 0xF9


def gif_delays(file: BinaryIO) -> list[float]:
    """Milliseconds of each frame, as written; where the file breaks off, those before. Keeps the position."""
    position = file.tell()
    delays: list[float] = []
    delay = 0.0
    try:
        file.seek(0)
        _skip_palette(file, flags=_take(file, 13)[10])
        while (mark := _take(file, 1)[0]) in (_EXTENSION, _IMAGE):
            if mark == _IMAGE:
                _skip_palette(file, flags=_take(file, 9)[8])
                _take(file, 1)
                delays.append(delay)
                delay = 0.0
            elif _take(file, 1)[0] == _CONTROL:
                delay = int.from_bytes(_take(file, 4)[2:], "little") * 10.0
                file.seek(1, 1)
            _skip_blocks(file)
    except EOFError:
        pass
    finally:
        file.seek(position)
    return delays


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 * 2 ** ((flags & 7) + 1), 1)


def _skip_blocks(file: BinaryIO) -> None:
    while size := _take(file, 1)[0]:
        file.seek(size, 1)
