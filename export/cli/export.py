"""The verb `vicmae export`."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import BundleError, InvalidRequest
from ...terminal import PARTLY, JsonOption, print_json, say, stdout
from .common import PICTURES_FOR_DRIFT, read_pictures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..bundle import Manifest
    from ..conversion import AnyEncoder

PICTURES_FOR_CALIBRATION = 128
PICTURES_FOR_LAYERS = 8

CheckpointArgument = Annotated[
    Path | None, typer.Argument(help="A checkpoint file, a step's folder or a run's folder; not with --timm.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder of the bundle; one that is there is replaced whole.")
]
TimmOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:FILE]",
        help="A ViT of timm with the weights in FILE (safetensors or pth). Without FILE its weights are random: "
        "for measuring speed only.",
    ),
]
PrecisionOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PRECISION",
        help="Write this too, beside fp32: fp16 (GPUs), int8-static (CPUs; needs --calibrate). May be repeated.",
    ),
]
CalibrateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder of pictures, like those to be served, on which int8-static fixes its scales."
    ),
]
PicturesOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="FOLDER", help="Folder of real pictures to measure the drift on; may be repeated."),
]
PatchTokensOption = Annotated[
    bool, typer.Option("--patch-tokens", help="Give out the patch tokens too, for explanations.")
]
StartShareOption = Annotated[
    float,
    typer.Option(help="Average the weights with those a training on edits began with: this share of them, 0 to 1."),
]
ProvenanceOption = Annotated[
    Path | None, typer.Option(help="JSON file with facts for the card; without it the run's run.json.")
]
ExplainDriftOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write nothing; say which layer of this ONNX file is the first to leave the trained network.",
    ),
]
TensorRtOption = Annotated[
    bool, typer.Option("--tensorrt", help="Build TensorRT engines for this machine's GPU, too: minutes.")
]


def export(
    checkpoint: CheckpointArgument = None,
    out: OutOption = None,
    timm: TimmOption = None,
    precision: PrecisionOption = None,
    calibrate: CalibrateOption = None,
    pictures: PicturesOption = None,
    patch_tokens: PatchTokensOption = False,
    name: Annotated[str | None, typer.Option(help="The model's name; without it the folder's.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels; without it as trained.")] = None,
    start_share: StartShareOption = 0.0,
    provenance: ProvenanceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write engines that fail the drift gate, too.")] = False,
    explain_drift: ExplainDriftOption = None,
    tensorrt: TensorRtOption = False,
    json_output: JsonOption = False,
) -> None:
    """Make a bundle of a checkpoint: ONNX with normalisation inside, and the proof that it agrees with PyTorch.

    Every file is compared with the fp32 PyTorch network on the --pictures (made-up ones without). A file that drifts
    beyond the limits is not written: if it is fp32, nothing is (exit code 1), else the rest is (exit code 3).
    """
    missing = [package for package in ("torch", "timm", "onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        raise BundleError(f"{', '.join(missing)} is not installed. Run: pip install '.[export]'")
    from ..conversion import MADE_UP, check_precisions, export_bundle
    from ..engine import build_tensorrt, require_tensorrt

    if tensorrt:
        require_tensorrt()
    if (checkpoint is None) == (timm is None):
        raise InvalidRequest("Name a checkpoint, or a model of timm with --timm NAME[:FILE]; one of the two.")
    if (out is None) == (explain_drift is None):
        raise InvalidRequest("Name the bundle's folder with --out, or a file to explain with --explain-drift.")
    wished = check_precisions(precision or [], calibrate is not None)
    encoder, facts = _network(checkpoint, timm, size, start_share, provenance)
    found = read_pictures(pictures or [], encoder.spec, PICTURES_FOR_DRIFT)
    if out is None:
        assert explain_drift is not None
        return _explain(encoder, explain_drift, found, json_output)
    for_scales = read_pictures([calibrate] if calibrate else [], encoder.spec, PICTURES_FOR_CALIBRATION)
    source = f"{sum(map(len, found))} real pictures" if found else MADE_UP
    named = name or out.resolve().name
    manifest = export_bundle(
        encoder, named, out, found or None, source, facts, force, wished, patch_tokens, for_scales, say
    )
    if tensorrt:
        say(f"built for this GPU: {', '.join(build_tensorrt(out))}")
    _tell(out, manifest, wished, json_output)


def _network(
    checkpoint: Path | None, timm: str | None, size: int | None, start_share: float, provenance: Path | None
) -> "tuple[AnyEncoder, dict[str, Any]]":
    """The network in eval mode, and the facts for its card."""
    if checkpoint is not None:
        from ...model.checkpoints import find_checkpoint, load_any_encoder

        weights = find_checkpoint(checkpoint)
        facts = _provenance(weights, provenance)
        facts = {**facts, "start_share": start_share} if start_share else facts
        return load_any_encoder(weights, size, start_share), facts
    from ..timm_encoder import load_timm

    model, _, file = str(timm).partition(":")
    network = load_timm(model, Path(file) if file else None, size)
    facts = _provenance(Path(file or "."), provenance) if provenance else {}
    return network, {**facts, "trained": False} if not network.trained else facts


def _tell(out: Path, manifest: "Manifest", precisions: list[str], json_output: bool) -> None:
    """The drift of each file; exits with PARTLY where one that was wished for was refused."""
    from dataclasses import asdict

    from ..conversion import FILES

    refused = [FILES[word] for word in precisions if FILES[word] not in manifest.engines]
    drift = {file_name: asdict(file.drift) for file_name, file in manifest.engines.items()}
    if json_output:
        print_json({"bundle": str(out), "fingerprint": manifest.fingerprint, "drift": drift, "refused": refused})
    else:
        for file_name, d in drift.items():
            stdout.print(
                f"{out / file_name}: mean cosine {d['mean_cosine']:.7f}, minimum {d['min_cosine']:.7f}, top-10 overlap "
                f"{d['top10_overlap']:.3f} over {d['pictures']} pictures ({d['source']})",
                soft_wrap=True,
            )
    if refused:
        raise typer.Exit(PARTLY)


def _explain(encoder: "AnyEncoder", file: Path, pictures: "list[NDArray[np.uint8]]", json_output: bool) -> None:
    """A row a layer, and the first that is outside the limits of the file's precision."""
    from dataclasses import asdict

    import numpy as np
    from rich.table import Table

    from ..conversion import FILES, explain_drift, first_bad, gate_of, made_up_pixels

    if not file.is_file():
        raise InvalidRequest(f"There is no file {file}.")
    precision = next((gate_of(word) for word, known in FILES.items() if known == file.name), "fp32")
    shown = pictures[:: max(1, len(pictures) // PICTURES_FOR_LAYERS)][:PICTURES_FOR_LAYERS]
    pixels = np.concatenate(shown) if shown else made_up_pixels(encoder.spec, PICTURES_FOR_LAYERS, seed=1)
    layers = explain_drift(encoder, file, pixels)
    bad = first_bad(layers, precision)
    if json_output:
        first = bad.layer if bad else None
        print_json(
            {"file": str(file), "precision": precision, "first_bad": first, "layers": [asdict(x) for x in layers]}
        )
        return
    table = Table("layer", "mean cosine", "minimum cosine", "relative error", "")
    for x in layers:
        mark = "first outside the limits" if x is bad else "outside" if x.is_bad(precision) else ""
        table.add_row(x.layer, f"{x.mean_cosine:.6f}", f"{x.min_cosine:.6f}", f"{x.relative_error:.2e}", mark)
    stdout.print(table)
    told = (
        f"The first layer outside the limits of {precision} is {bad.layer}."
        if bad
        else (f"Every layer is within the limits of {precision}.")
    )
    stdout.print(f"{file}: {told}", soft_wrap=True)


def _provenance(weights: Path, given: Path | None) -> dict[str, Any]:
    """The facts of a run, from the file given or from run.json in the run's folder."""
    candidates = [given] if given else [weights.parent / "run.json", weights.parent.parent / "run.json"]
    for path in candidates:
        if path.is_file():
            try:
                facts = json.loads(path.read_text())
            except ValueError as error:
                raise InvalidRequest(f"{path} is not JSON: {error}.") from error
            if not isinstance(facts, dict):
                raise InvalidRequest(f"{path} must hold one JSON object.")
            return facts
    if given:
        raise InvalidRequest(f"There is no file {given}.")
    return {}
