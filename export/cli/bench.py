"""The verb `vicmae bench engine`."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ...errors import InvalidRequest
from ...terminal import BundleOption, JsonOption, print_json, say, stdout
from .common import PICTURES_FOR_DRIFT, read_pictures

if TYPE_CHECKING:
    from ..bench import Fidelity, Report


def register(app: typer.Typer) -> None:
    bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
    bench.callback()(lambda: None)  # so that one verb alone still wants its name
    bench.command("engine")(bench_engine)
    app.add_typer(bench, name="bench")


def bench_engine(
    bundle: BundleOption = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Pictures at a time; may be repeated.")] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="CPU threads; may be repeated \\[default: every core].")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time for each engine, batch and threads.")] = 3.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, tensorrt or auto.")] = "cpu",
    engine: Annotated[list[str] | None, typer.Option(help="Only this engine; may be repeated.")] = None,
    pictures: Annotated[
        list[Path] | None, typer.Option(help="Folder of pictures for the cosines; may be repeated \\[default: canary].")
    ] = None,
    table_only: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/engines.md.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw images/s into FILE.png; needs the extra bench.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Time every engine of a bundle beside PyTorch eager, and say how faithful each is."""
    from ...settings import load_settings
    from ..bench import measure
    from ..bundle import read_manifest

    if plot is not None and find_spec("matplotlib") is None:
        raise InvalidRequest("--plot needs matplotlib. Run: pip install '.[bench]'")
    chosen = load_settings(bundle=bundle).bundle
    found = read_pictures(pictures or [], read_manifest(chosen).spec, PICTURES_FOR_DRIFT)
    batches, counts = batch or [1, 8, 32], threads or [os.cpu_count() or 1]
    source = f"{sum(map(len, found))} real pictures" if found else "canary"
    report = measure(chosen, batches, counts, seconds, device, engine, found, source, say)
    if plot is not None:
        draw(report, plot)
    for name, reason in report.refused.items():
        say(f"{name}: {reason}")
    if find_spec("torch") is None:
        say("PyTorch is not installed, so there is no ratio to it. Run: pip install '.[train]'")
    if json_output:
        print_json(report.to_dict())
    elif table_only:
        for size in batches:
            typer.echo(markdown(report, size))
    else:
        _print_bench(report)


def _print_bench(report: "Report") -> None:
    speeds = Table(title=report.machine)
    speeds.add_column("engine", no_wrap=True)
    for heading in ("threads", "batch", "images/s", "ms", "x eager", "of peak"):
        speeds.add_column(heading, justify="right")
    for s in report.speeds:
        ratio, share = (f"{x:.2f}" if x is not None else "–" for x in (s.ratio, s.share))
        figures = (f"{s.images_per_second:.1f}", f"{s.ms:.1f}", ratio, share)
        speeds.add_row(s.engine, str(s.threads), str(s.batch), *figures)
    stdout.print(speeds)
    for count, peak in report.peaks.items():
        stdout.print(f"fp32 matrix peak with {count} threads: {peak:.0f} GFLOP/s")
    fidelity = Table(title=f"vectors of {report.fidelity[0].drift.pictures} pictures" if report.fidelity else None)
    fidelity.add_column("engine", no_wrap=True)
    for heading in ("file MB", "memory MB", "mean cosine", "minimum", "top-10"):
        fidelity.add_column(heading, justify="right")
    for f in report.fidelity:
        cosines = (f"{f.drift.mean_cosine:.6f}", f"{f.drift.min_cosine:.6f}", f"{f.drift.top10_overlap:.3f}")
        fidelity.add_row(f.engine, f"{f.file_bytes / 1e6:.1f}", f"{f.memory_bytes / 1e6:.0f}", *cosines)
    stdout.print(fidelity)


def markdown(report: "Report", batch: int) -> str:
    """The table of docs/engines.md: one row an engine, speeds at this batch."""
    lines = [
        f"`{report.model}` at {report.size}, batch {batch}; {report.machine}.",
        "",
        "| engine | precision | threads | images/s | ms | x PyTorch eager | share of fp32 peak | file MB | memory MB "
        "| mean cosine | minimum cosine | top-10 overlap | pictures |",
        "| --- |" + " --- |" * 12,
    ]
    fidelity = {measured.engine: measured for measured in report.fidelity}
    for speed in report.speeds:
        if speed.batch != batch:
            continue
        ratio, share = (f"{x:.2f}" if x is not None else "" for x in (speed.ratio, speed.share))
        measured = fidelity.get(speed.engine)
        rest = ["fp32", *[""] * 6] if measured is None else _fidelity_cells(measured)
        cells = [
            speed.engine,
            rest[0],
            speed.threads,
            f"{speed.images_per_second:.1f}",
            f"{speed.ms:.1f}",
            ratio,
            share,
        ]
        lines.append(f"| {' | '.join(map(str, [*cells, *rest[1:]]))} |")
    return "\n".join(lines) + "\n"


def _fidelity_cells(measured: "Fidelity") -> list[str]:
    d = measured.drift
    sizes = [f"{measured.file_bytes / 1e6:.0f}", f"{measured.memory_bytes / 1e6:.0f}"]
    cosines = [f"{d.mean_cosine:.6f}", f"{d.min_cosine:.6f}", f"{d.top10_overlap:.3f}"]
    return [measured.precision, *sizes, *cosines, f"{d.pictures} ({d.source})"]


def draw(report: "Report", path: Path) -> None:
    """Bars of images/s by batch, a colour an engine, at the most threads measured. Needs matplotlib."""
    from matplotlib.figure import Figure

    threads = max(speed.threads for speed in report.speeds)
    shown = [speed for speed in report.speeds if speed.threads == threads]
    names = list(dict.fromkeys(speed.engine for speed in shown))
    batches = list(dict.fromkeys(speed.batch for speed in shown))
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        rates = [speed.images_per_second for speed in shown if speed.engine == name]
        axes.bar([i + place * width for i in range(len(batches))], rates, width, label=name)
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(batches))], [f"batch {batch}" for batch in batches])
    axes.set_ylabel("images per second")
    axes.set_title(f"{report.model} at {report.size}, {threads} threads; {report.machine}")
    axes.legend()
    figure.savefig(path)
