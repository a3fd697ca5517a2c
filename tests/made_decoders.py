"""A decoder that counts how often a file is decoded."""

from typing import Any

from vicmae.media.decoding import InProcess


class CountingDecoder(InProcess):
    """Decodes in this process. decoded: calls that open a file for its pictures; probing is not one."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded = 0

    def frame_at(self, *arguments: Any, **more: Any) -> Any:
        self.decoded += 1
        return super().frame_at(*arguments, **more)

    def read_frames(self, *arguments: Any, **more: Any) -> Any:
        self.decoded += 1
        return super().read_frames(*arguments, **more)
