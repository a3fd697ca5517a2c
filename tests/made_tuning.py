"""Made labelled media for tests of fine-tuning: two classes that differ in colour, as files and as a task."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vicmae.training.finetune import ImageTuning, VideoTuning
from vicmae.training.finetune.data import Decoded, Task

CLASSES = ("blue", "red")
SPEC_SIDE = 40


def nano_tuning(**changes: Any) -> ImageTuning:
    """A recipe of milliseconds a step on pictures of 32 pixels, nothing random left out."""
    return ImageTuning(**_values(changes))


def nano_video_tuning(**changes: Any) -> VideoTuning:
    """The same on clips of 4 frames, two of each video in a batch."""
    return VideoTuning(**_values({"frames": 4, "repeats": 2, "test_clips": 2, "test_crops": 1, **changes}))


def _values(changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "size": 32,
        "epochs": 3,
        "warmup_epochs": 1.0,
        "batch": 8,
        "base_rate": 0.02,
        "drop_path": 0.1,
        "dropout": 0.1,
        "rand_augment": "rand-m3-n1",
        "checkpoint_steps": 2,
        "decoding": "once",
        **changes,
    }


def coloured(kind: int, seed: int, size: tuple[int, int] = (48, 40)) -> NDArray[np.uint8]:
    """(H, W, 3): noise that is mostly blue (0) or mostly red (1)."""
    pixels = np.random.default_rng(seed).integers(0, 90, (size[1], size[0], 3))
    pixels[:, :, 0 if kind else 2] += 150
    return pixels.astype(np.uint8)


def made_task(items: int = 12, frames: int = 1) -> Task:
    """Items without files: `items` to learn from and half as many to test on, the classes in turn."""
    count = items + items // 2
    data = np.stack([coloured(i % 2, i * 100 + t) for i in range(count) for t in range(frames)])
    targets = np.arange(count) % 2
    stored = Decoded(
        names=[f"{i}" for i in range(count)],
        targets=targets,
        data=data.reshape(-1),
        offset=np.arange(count) * frames * data[0].nbytes,
        shape=np.array([data.shape[1:3]] * count),
        seconds=[np.arange(frames) / 8] * count,
    )
    rows = np.arange(count)
    learned, asked = rows[:items], rows[items:]
    return Task(stored.of_rows(learned, targets[learned]), stored.of_rows(asked, targets[asked]), CLASSES, [])


def write_tree(folder: Path, each: int = 4, video: bool = False) -> Path:
    """SPLIT/LABEL/FILE with `each` training files a class and one to test; pictures, or videos of 8 frames."""
    for split, count in (("train", each), ("test", 1)):
        for kind, label in enumerate(CLASSES):
            place = folder / split / label
            place.mkdir(parents=True)
            for i in range(count):
                seed = 1000 * kind + 10 * i + (split == "test")
                if video:
                    write_clip(place / f"{i}.mp4", [coloured(kind, seed + t) for t in range(8)])
                else:
                    Image.fromarray(coloured(kind, seed)).save(place / f"{i}.png")
    return folder


def write_clip(path: Path, frames: list[NDArray[np.uint8]], fps: int = 8) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path
