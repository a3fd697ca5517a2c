"""The page in a real Chromium: add files, look for a frame, play the hit at its second, delete."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from made_media import frame_of, write_image, write_text, write_video
from playwright.sync_api import Browser, Page, expect
from served import added, halted, served

from vicmae.export.calibration import UNCALIBRATED
from vicmae.export.engine import FakeEngine
from vicmae.server.auth.keys import Keys

ATTACK = '"><img src=x onerror=alert(1)>.jpg'


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with served(tmp_path / "data") as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for seed in (1, 2):
        write_video(folder / f"video-{seed}.mp4", seed=seed)
    write_image(folder / "picture.jpg", 9)
    write_text(folder / "notes.jpg")
    frame_of(2, 3.5).save(folder / "frame.png")
    return folder


def test_a_model_without_calibration_still_says_what_is_not_the_same(
    browser: Browser, tmp_path: Path, folder: Path
) -> None:
    with served(tmp_path / "other", FakeEngine(calibration=UNCALIBRATED)) as client:
        added(client, folder / "video-1.mp4")
        page = browser.new_page()
        page.goto(str(client.base_url))
        page.set_input_files("#query-file", folder / "frame.png")
        best = page.locator("#hits .card").first
        expect(best).to_contain_text("not the same")  # pictures were looked at, which no model's curve is needed for
        expect(page.locator("#query-state")).to_contain_text("Not found")
        page.close()


def test_add_find_play_delete(page: Page, folder: Path) -> None:
    expect(page.locator("#welcome")).to_contain_text("vicmae index FOLDER")
    view(page, "Library")
    names = ("video-1.mp4", "video-2.mp4", "picture.jpg", "notes.jpg")
    page.set_input_files("#add-files", [folder / name for name in names])
    expect(page.locator("#uploads-summary")).to_have_text(
        "All files are through, 1 file could not be added.", timeout=20_000
    )
    expect(page.locator("#uploads .bad")).to_contain_text("notes.jpg")
    expect(page.locator("#uploads .bad")).to_contain_text("This is no picture or video")
    expect(page.locator("#items .card")).to_have_count(3)
    expect(page.locator("#counts")).to_have_text("1 picture, 2 videos")

    view(page, "Find")
    page.set_input_files("#query-file", folder / "frame.png")
    best = page.locator("#hits .card").first
    expect(best).to_contain_text("video-2.mp4")
    expect(best).to_contain_text("0:03.5")
    expect(page.locator("#query-preview img")).to_be_visible()

    best.get_by_role("button", name="Play video-2.mp4 from 0:03.5").click()
    video = page.locator("#player video")
    expect(video).to_be_visible()
    expect(video).to_have_js_property("readyState", 4)
    assert 3.4 <= video.evaluate("video => video.currentTime") <= 5
    with page.expect_popup() as original:
        page.get_by_role("link", name="Open the original").click()
    original.value.close()
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()

    view(page, "Library")
    page.get_by_role("button", name="Delete video-2.mp4").click()
    page.locator("#ask-yes").click()
    expect(page.locator("#items .card")).to_have_count(2)
    view(page, "Find")
    page.get_by_role("button", name="Look for something else").click()
    page.set_input_files("#query-file", folder / "frame.png")
    expect(page.locator("#hits .card")).to_have_count(2)


def test_a_dropped_clip_is_searched_and_so_is_a_part_of_it(page: Page, client: httpx.Client, folder: Path) -> None:
    for seed in (1, 2):
        added(client, folder / f"video-{seed}.mp4")
    page.reload()
    drop(page, folder / "video-1.mp4", "video/mp4")
    best = page.locator("#hits .card").first
    expect(best).to_contain_text("video-1.mp4")
    expect(best).to_contain_text("0:00.0–0:06.0")
    page.fill("#query-start", "2")
    page.fill("#query-end", "4")
    page.get_by_role("button", name="Search this part").click()
    expect(best).to_contain_text("0:02.0–0:04.0")
    page.get_by_role("button", name="Search the frame on screen").click()
    expect(page.locator("#query-state")).to_contain_text("Found in 1 item")


def test_one_kind_can_be_shown_and_looked_for(page: Page, client: httpx.Client, folder: Path) -> None:
    added(client, folder / "video-2.mp4")
    added(client, folder / "picture.jpg")
    page.set_input_files("#query-file", folder / "frame.png")
    expect(page.locator("#hits .card")).to_have_count(2)
    page.get_by_label("Look among").select_option(label="pictures")
    expect(page.locator("#hits .card")).to_have_count(1)
    expect(page.locator("#hits .card")).to_contain_text("picture.jpg")
    view(page, "Library")
    expect(page.locator("#items .card")).to_have_count(2)
    page.locator("#items-kind").select_option(label="videos")
    expect(page.locator("#items .card")).to_have_count(1)
    expect(page.locator("#items .card")).to_contain_text("video-2.mp4")


def test_find_similar_leads_on(page: Page, client: httpx.Client, folder: Path) -> None:
    added(client, folder / "video-2.mp4")
    added(client, folder / "frame.png")
    page.goto(f"{client.base_url}/#/library/default")
    card = page.locator("#items .card").filter(has_text="frame.png")
    card.get_by_role("button", name="Find similar").click()
    expect(page.locator("#hits .card")).to_have_count(1)
    expect(page.locator("#hits .card")).to_contain_text("video-2.mp4")
    assert page.url.endswith("#/find/default")


def test_a_hit_says_why_it_was_found(page: Page, client: httpx.Client, folder: Path) -> None:
    added(client, folder / "video-2.mp4")
    page.set_input_files("#query-file", folder / "frame.png")
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#why")).to_be_visible()
    expect(page.locator("#why-name")).to_contain_text("video-2.mp4 at 0:03.5")
    for side in ("#why-query", "#why-hit"):
        assert page.locator(side).evaluate("image => image.naturalWidth") == 384
    page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_hidden()


def test_errors_are_sentences_and_go_away(page: Page, folder: Path) -> None:
    page.set_input_files("#query-file", folder / "notes.jpg")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This is no picture or video")
    page.get_by_role("button", name="Dismiss this message").click()
    expect(alert).to_be_hidden()


def test_the_address_keeps_the_collection(page: Page, client: httpx.Client) -> None:
    page.locator("#collection").select_option(label="New collection…")
    page.fill("#ask-name", "holiday")
    page.locator("#ask-yes").click()
    expect(page.locator("#collection")).to_have_value("holiday")
    expect(page).to_have_url(re.compile("#/library/holiday$"))
    page.reload()
    expect(page.locator("#collection")).to_have_value("holiday")
    page.locator("#drop-collection").click()
    page.locator("#ask-yes").click()
    expect(page.locator("#collection")).to_have_value("default")
    assert [known["name"] for known in client.get("/v1/collections").json()["data"]] == ["default"]


def test_names_never_become_markup(page: Page, client: httpx.Client, folder: Path) -> None:
    attack = {"file": (ATTACK, (folder / "picture.jpg").read_bytes())}
    client.post("/v1/collections/default/items", files=attack, data={"metadata": '{"<b>": "<i>x</i>"}'})
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    page.set_input_files("#query-file", folder / "picture.jpg")
    page.locator("#hits .shot").click()
    expect(page.locator("#player-name")).to_contain_text("onerror")
    expect(page.locator("#player-facts")).to_contain_text("<i>x</i>")


def test_keyboard_alone_is_enough(page: Page, client: httpx.Client, folder: Path) -> None:
    added(client, folder / "video-2.mp4")
    page.set_input_files("#query-file", folder / "frame.png")
    expect(page.locator("#hits .card")).to_have_count(1)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate_handle("() => document.activeElement").get_property("className").json_value() == "shot":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#player")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()


def test_more_hits_are_shown_when_asked_for(page: Page, client: httpx.Client, tmp_path: Path) -> None:
    for seed in range(30):
        added(client, write_image(tmp_path / f"{seed}.png", seed))
    page.reload()
    page.set_input_files("#query-file", tmp_path / "7.png")
    expect(page.locator("#hits .card")).to_have_count(24)
    expect(page.locator("#hits .card").first).to_contain_text("7.png")
    added(client, write_image(tmp_path / "late.png", 99))
    page.locator("#hits-more").click()
    expect(page.locator("#hits .card")).to_have_count(30)
    expect(page.locator("#hits-more")).to_be_hidden()
    expect(page.locator("#query-state")).to_have_text("30 items, best first")
    names = page.locator("#hits .card-name").all_inner_texts()
    assert sorted(names) == sorted(f"{seed}.png" for seed in range(30))
    page.set_input_files("#query-file", tmp_path / "8.png")
    expect(page.locator("#hits .card").first).to_contain_text("8.png")
    expect(page.locator("#hits .card")).to_have_count(24)


def test_a_damaged_collection_is_shown_and_can_be_deleted(page: Page, client: httpx.Client, tmp_path: Path) -> None:
    for name in ("bad", "good"):
        client.put(f"/v1/collections/{name}")
    catalog = tmp_path / "data" / "collections" / "bad" / "catalog.sqlite"
    catalog.unlink()
    catalog.write_bytes(b"no catalog at all" * 500)
    page.reload()
    damaged = page.locator("#damaged li")
    expect(damaged).to_have_count(1)
    expect(damaged).to_contain_text("The collection “bad” cannot be opened.")
    expect(damaged).to_contain_text("vicmae snapshot restore FILE -c bad --force")
    assert page.locator("#collection option").all_inner_texts() == ["default", "good", "New collection…"]
    damaged.get_by_role("button", name="Delete it…").click()
    page.locator("#ask-yes").click()
    expect(damaged).to_have_count(0)
    assert not catalog.parent.exists()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_sideways(page: Page, client: httpx.Client, folder: Path, width: int) -> None:
    added(client, folder / "video-2.mp4")
    page.set_viewport_size({"width": width, "height": 800})
    page.set_input_files("#query-file", folder / "frame.png")
    expect(page.locator("#hits .card")).to_have_count(1)
    for name in ("Library", "Find"):
        view(page, name)
        assert page.locator("html").evaluate("html => html.scrollWidth") <= width


def test_a_video_that_is_being_read_is_cancelled(browser: Browser, tmp_path: Path, folder: Path) -> None:
    with halted(tmp_path / "data") as (client, engine):
        context = browser.new_context()
        page = context.new_page()
        page.goto(str(client.base_url))
        view(page, "Library")
        page.set_input_files("#add-files", [folder / f"video-{seed}.mp4" for seed in (1, 2)])
        for name in ("video-1.mp4", "video-2.mp4"):
            page.get_by_role("button", name=f"Cancel {name}").click(timeout=20_000)
        engine.gate.set()
        expect(page.locator("#uploads .cancelled")).to_have_count(2)
        expect(page.locator("#uploads-summary")).to_have_text("All files are through.")
        expect(page.get_by_role("button", name="Cancel video-1.mp4")).to_be_hidden()
        assert not client.get("/v1/collections/default/items").json()["data"]
        context.close()


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def drop(page: Page, path: Path, mime: str) -> None:
    """Drops a file onto the page as a person does."""
    page.locator("body").evaluate(
        """(body, [bytes, name, type]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            for (const kind of ["dragenter", "dragover", "drop"])
                body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true }));
        }""",
        [list(path.read_bytes()), path.name, mime],
    )


def test_the_page_asks_for_a_key_once_and_shows_pictures_with_it(
    browser: Browser, tmp_path: Path, folder: Path
) -> None:
    keys = Keys(tmp_path / "locked")
    _, text = keys.create("me", ["search", "index"])
    context = browser.new_context()
    with served(tmp_path / "locked") as client:
        client.headers["authorization"] = f"Bearer {text}"
        added(client, folder / "picture.jpg")
        page = context.new_page()
        page.goto(f"{client.base_url}/#/library/default")
        dialog = page.locator("#ask")
        expect(dialog).to_contain_text("A key is needed")
        page.get_by_label("Key", exact=True).fill("vicmae_00000000_wrong")
        page.get_by_role("button", name="Go on").click()
        expect(dialog).to_contain_text("not known")
        page.get_by_label("Key", exact=True).fill(text)
        page.get_by_role("button", name="Go on").click()
        picture = page.locator("#library img").first
        expect(picture).to_be_visible()
        page.wait_for_function("() => document.querySelector('#library img').naturalWidth > 0")
        page.reload()
        expect(picture).to_be_visible()
        expect(dialog).to_be_hidden()
    context.close()
