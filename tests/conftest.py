"""For every test: hypothesis judges what comes out, not how long it took. Tests never time.

For the same reason bundles run in the one engine that needs no measuring, unless a test asks for another.
And a Chromium for the tests of the page, which are skipped where there is none.
"""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

os.environ["VICMAE_ENGINE"] = "onnxruntime-fp32"
os.environ["VICMAE_DEVICE"] = "cpu"
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", client: httpx.Client) -> "Iterator[Page]":
    """A fresh page on the test's server. Scripts that fail, or that the policy refuses, fail the test."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(str(client.base_url))
    yield page
    context.close()
    assert not faults
