"""card.md: a bundle's manifest in words, for the person who decides whether to use the model. Measures nothing."""

import json
from dataclasses import astuple
from typing import Any

from ..calibration import THRESHOLDS
from .manifest import Manifest

HOW = {
    "model.onnx": "all in fp32",
    "model.fp16.onnx": "for GPUs; matrices in fp16; LayerNorm, softmax, pooling and unit length in fp32",
    "model.int8.onnx": "of an older version, refused: its scales come from the batch, so that a picture's vector "
    "depends on its neighbours",
    "model.int8-static.onnx": "for CPUs through ONNX Runtime or OpenVINO; matrices, convolutions and their inputs in "
    "int8, with scales from calibration pictures",
}


def card_of(manifest: Manifest) -> str:
    """The manifest as Markdown: what it is, how it was trained, how good, how faithful, what not to use it for."""
    spec, p = manifest.spec, manifest.provenance
    lines = [
        f"# {manifest.name}",
        "",
        f"{_kind(manifest.architecture)}, {manifest.parameters / 1e6:.1f} M parameters, width {spec.dim}, "
        f"{manifest.architecture.get('depth')} blocks, patches of {spec.patch}. A picture becomes {spec.size} x "
        f"{spec.size} pixels ({spec.fit}, {spec.resize}) and then one unit vector of {spec.dim} numbers: the "
        f"{manifest.pooling}. Cosine (the inner product) compares two vectors.",
        "",
        f"Fingerprint `{manifest.fingerprint}`: vectors are comparable where it is equal.",
        "",
        "## Training",
        "",
        *_training(p),
        "",
        "## Measured",
        "",
        *_quality(manifest.quality),
        "",
        "## Calibration",
        "",
        *_calibration(manifest),
        "",
        "## Drift from the fp32 PyTorch encoder",
        "",
        "| file | precision | MB | pictures | mean cosine | minimum cosine | top-10 overlap |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for file_name, file in manifest.engines.items():
        d = file.drift
        lines.append(
            f"| {file_name} | {file.precision} | {file.bytes / 1e6:.1f} | {d.pictures} ({d.source}) | "
            f"{d.mean_cosine:.7f} | {d.min_cosine:.7f} | {d.top10_overlap:.3f} |"
        )
    lines += ["", *(f"- `{name}`: {HOW[name]}." for name in manifest.engines if name in HOW)]
    for title in ("notes", "limits", "licence"):
        if title in p:
            lines += ["", f"## {title.capitalize()}", "", str(p[title])]
    return "\n".join(lines) + "\n"


def _kind(architecture: dict[str, Any]) -> str:
    name = str(architecture.get("name"))
    return f"{name.removeprefix('timm/')} of timm" if name.startswith("timm/") else "ViC-MAE encoder"


def _training(provenance: dict[str, Any]) -> list[str]:
    if provenance.get("trained") is False:
        return ["**Not trained.** Its weights are random: it shows how fast this network is, and finds nothing."]
    if not provenance:
        return ["Not recorded: the checkpoint came without its run."]
    lines = []
    if "command" in provenance:
        lines += ["```", str(provenance["command"]), "```", ""]
    plain = ("data", "images", "clips", "steps", "batch", "pairs", "hours", "hardware", "commit")
    lines += [f"- {name}: {provenance[name]}" for name in plain if name in provenance]
    recipe = provenance.get("recipe")
    if isinstance(recipe, dict):
        lines += ["", "```toml", *_toml(recipe), "```"]
    return lines


def _toml(recipe: dict[str, Any]) -> list[str]:
    """The recipe as a preset file would say it: plain values first, then the tables."""
    tables = {name: values for name, values in recipe.items() if isinstance(values, dict)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in recipe.items() if name not in tables]
    for name, values in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return lines


def _calibration(manifest: Manifest) -> list[str]:
    fitted = manifest.calibration
    if fitted is None:
        return ["None: hits have no confidence. `vicmae calibrate BUNDLE MEDIA` fits it to media of your own."]
    on = ", ".join(f"{name} {value}" for name, value in fitted.fitted_on.items())
    shown = {name: getattr(fitted, name) for name in THRESHOLDS}
    shown |= {name: curve and astuple(curve) for name, curve in (("frame", fitted.frame), ("stretch", fitted.stretch))}
    return [f"Fitted on: {on}.", "", *(f"- {name}: {value}" for name, value in shown.items())]


def _quality(quality: dict[str, Any]) -> list[str]:
    if not quality:
        return ["Nothing yet: `vicmae evaluate knn|retrieval|copies DATA --record` writes here."]
    lines = ["| task | scores | queries | known |", "| --- | --- | --- | --- |"]
    for task, scores in quality.items():
        shown = {k: v for k, v in scores.items() if k not in ("queries", "known", "unreadable")}
        figures = ", ".join(f"{name} {value}" for name, value in shown.items())
        lines.append(f"| {task} | {figures} | {scores.get('queries')} | {scores.get('known')} |")
    return lines
