"""What `vicmae doctor` finds: versions, devices, codecs, bundle, data folder. Changes nothing.

Each finding is fine, worth knowing, or broken; only what a server cannot work without is broken.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ..errors import VicmaeError
from ..export.bundle import read_manifest
from ..export.engine import candidates_of, open_engine, this_machine
from ..index.library import Library
from ..settings import Settings

State = Literal["ok", "note", "broken"]

MARKS: dict[State, str] = {"ok": "✓", "note": "–", "broken": "✗"}
PACKAGES = (
    "vicmae",
    "onnxruntime",
    "faiss-cpu",
    "av",
    "pillow",
    "pillow-heif",
    "numpy",
    "fastapi",
    "uvicorn",
)
VIDEO_CODECS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mjpeg", "prores")
NEEDED_CODECS = ("h264", "jpeg")
LOW_DISK_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report, and the same as values for --json."""

    topic: str
    state: State
    words: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    findings: list[Finding]

    @property
    def is_well(self) -> bool:
        return all(finding.state != "broken" for finding in self.findings)

    def lines(self) -> Iterator[str]:
        width = max(len(finding.topic) for finding in self.findings)
        for finding in self.findings:
            yield f"{MARKS[finding.state]} {finding.topic:<{width}}  {finding.words}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "ok": self.is_well,
            **{
                finding.topic: {"state": finding.state, "detail": finding.words, **finding.values}
                for finding in self.findings
            },
        }


def examine(settings: Settings) -> Report:
    """Everything that can be found out without serving."""
    looks: tuple[Callable[[Settings], Finding], ...] = (versions, devices, codecs, bundle, data, pictures)
    return Report([look(settings) for look in looks])


def versions(_: Settings) -> Finding:
    found = {"python": platform.python_version()}
    missing = []
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            missing.append(package)
    words = ", ".join(f"{name} {number}" for name, number in found.items())
    # faiss-gpu and onnxruntime-gpu bring the same modules under other names: a missing name is a note.
    note = f"; not installed under this name: {', '.join(missing)}" if missing else ""
    return Finding("versions", "note" if missing else "ok", words + note, {**found, "missing": missing})


def devices(_: Settings) -> Finding:
    try:
        import onnxruntime
    except ImportError as error:
        return Finding("devices", "broken", f"onnxruntime cannot be imported: {error}")
    providers: list[str] = onnxruntime.get_available_providers()
    cores = os.cpu_count() or 1
    words = f"{cores} CPU cores; onnxruntime runs on {', '.join(providers)}"
    return Finding("devices", "ok", words, {"cpu_cores": cores, "providers": providers})


def codecs(_: Settings) -> Finding:
    """Which formats can be decoded here."""
    import av
    from PIL import features

    readable = {codec: codec in av.codecs_available for codec in VIDEO_CODECS}
    readable["jpeg"] = bool(features.check("jpg"))
    readable["webp"] = bool(features.check("webp"))
    readable["avif"] = bool(features.check("avif"))
    readable["heic"] = _heic()
    able = [codec for codec, is_there in readable.items() if is_there]
    unable = [codec for codec, is_there in readable.items() if not is_there]
    ffmpeg = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    words = f"reads {', '.join(able)} (libavcodec {ffmpeg})" + (f"; not {', '.join(unable)}" if unable else "")
    state: State = "ok" if not unable else "note"
    if any(not readable[codec] for codec in NEEDED_CODECS):
        state = "broken"
    return Finding("codecs", state, words, {"decodes": readable, "libavcodec": ffmpeg})


def bundle(settings: Settings) -> Finding:
    """The bundle, opened for real: its checks run, a picture goes through."""
    try:
        manifest = read_manifest(settings.bundle)
        options = settings.engine_options
        if not settings.data.is_dir():
            options["cache"] = None
        with open_engine(settings.bundle, **options) as engine:
            runs = f"{engine.precision} in {engine.runtime} on {engine.device}"
        groups = candidates_of(manifest, settings.device, this_machine())
        names = [candidate.name for group in groups for candidate in group]
    except VicmaeError as error:
        return Finding("bundle", "broken", str(error), {"path": str(settings.bundle)})
    drifts = {name: vars(file.drift) for name, file in manifest.engines.items()}
    worst = min((file.drift.min_cosine for file in manifest.engines.values()), default=1.0)
    words = (
        f"{manifest.name} ({manifest.fingerprint[:12]}), {manifest.spec.size} x {manifest.spec.size} pixels "
        f"-> {manifest.spec.dim} numbers, {runs}, least cosine to the original {worst:.6f}; "
        f"--engine auto, fastest, {', '.join(names)}"
    )
    values = {
        "path": str(settings.bundle),
        "name": manifest.name,
        "fingerprint": manifest.fingerprint,
        "size": manifest.spec.size,
        "dim": manifest.spec.dim,
        "drift": drifts,
        "runs": runs,
        "engines": names,
    }
    return Finding("bundle", "ok", words, values)


def data(settings: Settings) -> Finding:
    """The data folder: can it be written, how much room is left, what is in it."""
    folder = settings.data
    existing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))
    values: dict[str, Any] = {"path": str(folder)}
    if not existing.is_dir():
        return Finding("data", "broken", f"{existing} is a file, not a folder. Choose another --data.", values)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("data", "broken", f"{existing} cannot be written by this user.", values)
    free_bytes = shutil.disk_usage(existing).free
    try:
        with Library(folder) as library:
            stats = {known.name: known.stats() for known in library.survey()[0]}
    except VicmaeError as error:
        return Finding("data", "broken", str(error), values)
    held = ", ".join(f"{name} ({count['items']} items)" for name, count in stats.items()) or "no collections yet"
    low = free_bytes < LOW_DISK_BYTES
    words = f"{folder}, {free_bytes / 1e9:.1f} GB free{' (little)' if low else ''}, {held}"
    values |= {"free_bytes": free_bytes, "collections": {name: count["items"] for name, count in stats.items()}}
    return Finding("data", "note" if low else "ok", words, values)


def pictures(settings: Settings) -> Finding:
    """The frame store: how much it takes, and which items have no pictures there."""
    try:
        with Library(settings.data) as library:
            stats = {known.name: known.stats() for known in library.survey()[0]}
    except VicmaeError as error:
        return Finding("pictures", "note", str(error))
    values = {
        name: {told: count[told] for told in ("picture_bytes", "without_pictures")} for name, count in stats.items()
    }
    total_bytes = sum(count["picture_bytes"] for count in stats.values())
    lacking = [
        f"{count['without_pictures']} items of {name}" for name, count in stats.items() if count["without_pictures"]
    ]
    words = f"{total_bytes / 1e6:.1f} MB of stored pictures"
    if not settings.frame_store:
        words += "; new ones are not kept (frame_store is off)"
    elif any(0 < settings.frame_store_max_bytes <= count["picture_bytes"] for count in stats.values()):
        words += f"; frame_store_max_bytes ({settings.frame_store_max_bytes}) is reached, no more are kept"
    if lacking:
        words += f"; {', '.join(lacking)} have none, their files are read: `vicmae collections fill-pictures NAME`"
    return Finding("pictures", "note" if lacking else "ok", words, {"collections": values})


def _heic() -> bool:
    try:
        import pillow_heif

        return bool(pillow_heif.libheif_info().get("decoders", True))
    except ImportError:
        return False
