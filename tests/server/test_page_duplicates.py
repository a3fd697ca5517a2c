"""Duplicates in a real Chromium: found, compared in players that are locked, dismissed and taken back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from made_media import picture, write_image, write_video
from playwright.sync_api import Locator, Page, expect
from served import added, finished_job, served

from vicmae.export.engine import FakeEngine
from vicmae.index.duplicates import find_duplicates, report_dict, report_html
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.pictures import StoredPicture
from vicmae.index.search import tools_of

DUPLICATES = "/v1/collections/default/duplicates"
OFFSET_SECONDS = 4.0  # where the part lies in the film
NEAR = 0.35  # seconds: what locking allows, and what passes between two looks


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with served(tmp_path / "data") as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, its seconds from OFFSET_SECONDS on as a file of their own, and a picture in two formats."""
    folder = tmp_path_factory.mktemp("media")
    write_video(folder / "film.mp4", 1, 16.0, fps=10)
    cut(folder / "film.mp4", folder / "part.mp4", OFFSET_SECONDS, 12.0)
    write_image(folder / "photo.png", 9)
    picture(9).save(folder / "photo.jpg", quality=40)
    return folder


@pytest.fixture
def library(client: httpx.Client, folder: Path) -> httpx.Client:
    for name in ("film.mp4", "part.mp4", "photo.png", "photo.jpg"):
        added(client, folder / name)
    return client


def test_copies_are_found_compared_dismissed_and_taken_back(page: Page, library: httpx.Client) -> None:
    open_duplicates(page)
    expect(page.locator("#duplicates-state")).to_contain_text("Nothing is deleted")
    page.get_by_role("button", name="Look for duplicates").click()
    expect(page.locator("#duplicates-state")).to_contain_text("2 groups of duplicates", timeout=20_000)
    pairs = page.locator("#groups .duplicate")
    expect(pairs).to_have_count(2)
    expect(pairs.filter(has_text="photo.png")).to_contain_text("A copy, encoded again")
    films = pairs.filter(has_text="part.mp4")
    expect(films).to_contain_text("of the second, encoded again")
    expect(films.locator("img")).to_have_count(2)

    films.get_by_role("button", name="Not a duplicate").click()
    expect(page.locator("#dismissed-count")).to_have_text("1 pair you said are no duplicates")
    page.reload()
    expect(films).to_have_class("duplicate gone")
    films.get_by_role("button", name="Undo").click()
    expect(films.get_by_role("button", name="Not a duplicate")).to_be_focused()
    expect(page.locator("#dismissed-box")).to_be_hidden()
    assert library.get(f"{DUPLICATES}/dismiss").json() == {"data": []}


def test_a_search_can_be_cancelled_and_begun_again(
    page: Page, library: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, busy = Event(), Event()
    read = StoredPicture.pixels

    def slow(*args: Any, **given: Any) -> Any:
        busy.set()
        assert gate.wait(20)
        return read(*args, **given)

    monkeypatch.setattr(StoredPicture, "pixels", slow)
    open_duplicates(page)
    begin = page.get_by_role("button", name="Look for duplicates")
    cancel = page.locator("#duplicates-cancel")
    expect(cancel).to_be_hidden()
    begin.click()
    assert busy.wait(20)
    expect(begin).to_be_disabled()
    cancel.click()
    expect(cancel).to_be_hidden(timeout=20_000)
    gate.set()
    begin.click()
    expect(page.locator("#duplicates-state")).to_contain_text("2 groups of duplicates", timeout=20_000)


def test_a_pair_that_later_searches_leave_out_can_be_taken_back(page: Page, library: httpx.Client) -> None:
    open_duplicates(page)
    start = page.get_by_role("button", name="Look for duplicates")
    start.click()
    photos = page.locator("#groups .duplicate").filter(has_text="photo.png")
    photos.get_by_role("button", name="Not a duplicate").click()
    expect(page.locator("#dismissed-box")).to_be_visible()
    start.click()
    expect(page.locator("#duplicates-state")).to_contain_text("1 group of duplicates", timeout=20_000)
    page.locator("#dismissed-count").click()
    page.locator("#dismissed").get_by_role("button", name="Undo").click()
    expect(page.locator("#dismissed-box")).to_be_hidden()
    start.click()
    expect(page.locator("#duplicates-state")).to_contain_text("2 groups of duplicates", timeout=20_000)


def test_players_are_locked_and_either_leads(page: Page, library: httpx.Client) -> None:
    search(library)
    open_duplicates(page)
    pair = page.locator("#groups .duplicate").filter(has_text="part.mp4")
    pair.get_by_role("button", name="Play side by side").click()
    part, film = page.locator("#compare-0 video"), page.locator("#compare-1 video")
    expect(page.locator("#compare-0")).to_contain_text("part.mp4")
    for player in (part, film):
        expect(player).to_have_js_property("readyState", 4)
    are_locked(page, part, film)
    seek = page.locator("#compare-seek")
    seek.fill("5")
    are_locked(page, part, film, part_seconds=5)
    seek.press("ArrowRight")
    are_locked(page, part, film, part_seconds=5.1)

    page.get_by_role("button", name="Play both").click()
    expect(film).to_have_js_property("paused", False)
    until(page, lambda: part.evaluate("video => video.currentTime") > 6)
    page.get_by_role("button", name="Pause both").click()
    expect(film).to_have_js_property("paused", True)
    are_locked(page, part, film)

    page.get_by_role("radio", name="film.mp4").check()
    assert film.evaluate("video => video.controls") and not part.evaluate("video => video.controls")
    film.evaluate("video => { video.currentTime = 7 }")
    are_locked(page, part, film, part_seconds=7 - OFFSET_SECONDS)
    film.evaluate("video => video.play()")
    expect(part).to_have_js_property("paused", False)
    page.keyboard.press("Escape")
    expect(page.locator("#compare")).to_be_hidden()
    expect(page.locator("#compare video")).to_have_count(0)


def test_the_keyboard_alone_compares_and_dismisses(page: Page, library: httpx.Client) -> None:
    search(library)
    open_duplicates(page)
    expect(page.locator("#groups .duplicate")).to_have_count(2)
    page.locator("#duplicates-start").focus()
    tab_to(page, "Compare")
    page.keyboard.press("Enter")
    expect(page.locator("#compare")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#compare")).to_be_hidden()
    tab_to(page, "Not a duplicate")
    page.keyboard.press("Enter")
    expect(page.locator("#groups .gone")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_sideways(
    page: Page, library: httpx.Client, tmp_path: Path, width: int, scheme: str
) -> None:
    added(library, write_image(tmp_path / f"{'a-third-one' * 9}.webp", 9))
    search(library)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    open_duplicates(page)
    pair = page.locator("#groups .duplicate").filter(has_text="part.mp4")
    expect(pair).to_be_visible()
    expect(page.locator("#groups .strip li")).to_have_count(3)
    assert page.locator("html").evaluate("html => html.scrollWidth") <= width
    pair.get_by_role("button", name="Play side by side").click()
    expect(page.locator("#compare-0 video")).to_have_js_property("readyState", 4)
    assert page.locator("#compare").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_a_report_of_the_server_dismisses_and_takes_back(page: Page, library: httpx.Client) -> None:
    page.goto(f"{library.base_url}{search(library)}?format=html")
    pair = page.locator(".pair").filter(has_text="photo.png")
    pair.get_by_role("button", name="Not a duplicate").click()
    expect(pair).to_have_class("pair gone")
    assert len(library.get(f"{DUPLICATES}/dismiss").json()["data"]) == 1
    pair.get_by_role("button", name="undo").click()
    expect(pair).to_have_class("pair")
    assert library.get(f"{DUPLICATES}/dismiss").json()["data"] == []
    locked_report(page)


def test_a_report_in_a_file_needs_no_server(page: Page, folder: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "own") as library:
        engine = FakeEngine()
        collection = library.create("c", engine)
        for name in ("film.mp4", "part.mp4"):
            ingest_file(collection, engine, folder / name)
        found = find_duplicates(collection, tools_of(engine))
        html = report_html(report_dict(collection.name, found), lambda item_id: found.items[item_id].path.as_uri())
    (tmp_path / "report.html").write_text(html)
    page.goto((tmp_path / "report.html").as_uri())
    expect(page.get_by_role("button", name="Not a duplicate")).to_have_count(0)
    locked_report(page)


def locked_report(page: Page) -> None:
    """Both players of the standalone report go together, whichever is used."""
    pair = page.locator(".pair").filter(has_text="part.mp4")
    part, film = pair.locator("video").nth(0), pair.locator("video").nth(1)
    for player in (part, film):
        expect(player).to_have_js_property("networkState", 1)
    pair.get_by_role("button", name=" = ").first.click()
    expect(film).to_have_js_property("paused", False)
    part.evaluate("video => video.pause()")
    expect(film).to_have_js_property("paused", True)
    part.evaluate("video => { video.currentTime = 5 }")
    are_locked(page, part, film, part_seconds=5)
    film.focus()
    film.evaluate("video => { video.currentTime = 7 }")
    are_locked(page, part, film, part_seconds=7 - OFFSET_SECONDS)


def are_locked(page: Page, part: Locator, film: Locator, part_seconds: float | None = None) -> None:
    """Both show the same moment within NEAR, soon."""

    def locked() -> bool:
        here, there = (player.evaluate("video => video.seeking ? NaN : video.currentTime") for player in (part, film))
        is_there = part_seconds is None or abs(here - part_seconds) < NEAR
        return abs(there - here - OFFSET_SECONDS) < NEAR and is_there

    until(page, locked)


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Waits; the policy of the page forbids Playwright's own wait_for_function."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come about")


def open_duplicates(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Duplicates").click()


def search(client: httpx.Client) -> str:
    """Runs the job over HTTP; the address of its report."""
    job = finished_job(client, client.post(DUPLICATES).headers["location"])
    return str(job["result_url"])


def tab_to(page: Page, label: str) -> None:
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.evaluate("() => { const e = document.activeElement; return e.ariaLabel ?? e.textContent }")
        if focused.startswith(label):
            return
    raise AssertionError(f"no {label!r} within 30 steps")


def cut(film: Path, part: Path, start_seconds: float, end_seconds: float) -> None:
    """The frames of a film shown from start to end as a file of their own."""
    import av

    with av.open(str(film)) as whole, av.open(str(part), "w") as clip:
        stream = clip.add_stream("libx264", rate=10)
        stream.width, stream.height = 160, 120
        for frame in whole.decode(video=0):
            if start_seconds <= frame.time < end_seconds:
                picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
                clip.mux(stream.encode(picture))
        clip.mux(stream.encode(None))
