"""The verb `vicmae duplicates`. Words and exit codes only."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import InvalidRequest
from ...settings import load_settings
from ...terminal import BundleOption, CollectionOption, DataOption, JsonOption, say
from .common import calibration_of, limits_of, sandbox_of, stages

if TYPE_CHECKING:
    from ..collection import Collection
    from ..duplicates import Found


class ReportFormat(StrEnum):
    html = "html"
    json = "json"
    csv = "csv"


def duplicates(
    collection: CollectionOption = "default",
    report: Annotated[
        ReportFormat | None, typer.Option("--report", help="html (players side by side), json or csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the report to this file, not stdout.")] = None,
    dismiss: Annotated[
        tuple[str, str] | None,
        typer.Option("--dismiss", metavar="A B", help="Two files or item ids that are no duplicates; remembered."),
    ] = None,
    undismiss: Annotated[
        tuple[str, str] | None,
        typer.Option("--undismiss", metavar="A B", help="Take a --dismiss back: the pair may be told again."),
    ] = None,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find copies: same bytes, re-encoded, cropped, mirrored, turned, framed, captioned, or a clip within a film.

    The best file of each group is named. A shared intro, other entries of one form, other colours of one product and
    the like are told apart from duplicates. No file is changed or deleted.
    """
    from ..duplicates import find_duplicates
    from ..library import Library
    from ..search import Tools

    settings = load_settings(data=data, bundle=bundle)
    with Library(settings.data) as library, sandbox_of(settings) as decoder:
        opened = library.open(collection)
        if dismiss is not None or undismiss is not None:
            _remember(opened, dismiss, undismiss)
            return
        calibration = calibration_of(opened, settings)
        tools = Tools(limits=limits_of(settings), decoder=decoder, calibration=calibration)
        with stages() as on_progress:
            found = find_duplicates(opened, tools, on_progress)
    _write(_text(found, opened.name, report or (ReportFormat.json if as_json else None)), out)


def _remember(collection: "Collection", dismissed: tuple[str, str] | None, undismissed: tuple[str, str] | None) -> None:
    """Two items that are no duplicates, or that may be again."""
    from ..catalog import dismiss, undo

    if dismissed is not None:
        dismiss(collection.catalog, *(_item_id(collection, named) for named in dismissed))
        say("Remembered: these two are no duplicates.")
    if undismissed is not None:
        undo(collection.catalog, *(_item_id(collection, named) for named in undismissed))
        say("Forgotten: these two may be told as duplicates again.")


def _text(found: "Found", collection: str, form: ReportFormat | None) -> str:
    """The report in this form; None: for a terminal."""
    from ..duplicates import report_csv, report_dict, report_html, report_lines

    if form is None:
        say(f"{len(found.groups)} groups of duplicates, {len(found.shared)} pairs that are no duplicates.")
        return "".join(f"{line}\n" for line in report_lines(found))
    report = report_dict(collection, found)
    if form is ReportFormat.html:
        return report_html(report, lambda item_id: found.items[item_id].path.as_uri())
    if form is ReportFormat.csv:
        return report_csv(report)
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def _write(text: str, out: Path | None) -> None:
    """To the file, or to stdout."""
    from ..paths import printable

    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidRequest(f"{printable(out)} cannot be written: {error.strerror}.") from error


def _item_id(collection: "Collection", named: str) -> str:
    """The id of an item, or of the item of a file."""
    from ..paths import file_uri

    item = collection.find_by_uri(file_uri(Path(named))) if Path(named).exists() else None
    return named if item is None else item.id
