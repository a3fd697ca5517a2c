"""card.md: a bundle's manifest in words, for the person who decides whether to use the model. Measures nothing."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Manifest


def card_of(manifest: "Manifest") -> str:
    """The manifest as Markdown: what it is, how it was trained, how good, how faithful, what not to use it for."""
    spec, p = manifest.spec, manifest.provenance
    lines = [
        f"# {manifest.name}",
        "",
        f"ViC-MAE encoder, {manifest.parameters / 1e6:.1f} M parameters, width {spec.dim}, "
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
    for title in ("limits", "licence"):
        if title in p:
            lines += ["", f"## {title.capitalize()}", "", str(p[title])]
    return "\n".join(lines) + "\n"


def _training(provenance: dict[str, Any]) -> list[str]:
    if not provenance:
        return ["Not recorded: the checkpoint came without its run."]
    lines = []
    if "command" in provenance:
        lines += ["```", str(provenance["command"]), "```", ""]
    plain = ("data", "images", "clips", "steps", "batch", "pairs", "hours", "hardware", "recipe", "commit")
    return lines + [f"- {name}: {provenance[name]}" for name in plain if name in provenance]


def _quality(quality: dict[str, Any]) -> list[str]:
    if not quality:
        return ["Nothing yet: `vicmae evaluate knn|retrieval DATA --record` writes here."]
    lines = ["| task | scores | queries | known |", "| --- | --- | --- | --- |"]
    for task, scores in quality.items():
        shown = {k: v for k, v in scores.items() if k not in ("queries", "known", "unreadable", "floor")}
        figures = ", ".join(f"{name} {value}" for name, value in shown.items())
        floor = f" (8x8 colours: {scores['floor']})" if "floor" in scores else ""
        lines.append(f"| {task} | {figures}{floor} | {scores.get('queries')} | {scores.get('known')} |")
    return lines
