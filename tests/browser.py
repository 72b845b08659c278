"""A person in front of Airflow's UI: Chromium without a window, driven by Playwright.

`with browsing(airflow) as person:` works on any running Airflow: that of `make up` (tests.live) and the production
shape (tests.production). Waits are Playwright's own: for what a person would see, never for a time.
"""

import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Frame, FrameLocator, Locator, Page, expect, sync_playwright

from tests.live import Airflow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
# `make screenshots` says where pictures go; without it, none is made.
PICTURES = os.environ.get("SINCERE_PICTURES")

SIZES = ((1440, 900), (1024, 768))
THEMES = ("light", "dark")
_SECONDS = 120  # a busy machine
_COLOURS = 256
_NOWHERE = "/nowhere"
_FOLLOW = """path => {
    history.pushState({}, '', path)
    dispatchEvent(new PopStateEvent('popstate', {state: {}}))
}"""


class Person:
    """Somebody who is logged in, with one tab open."""

    def __init__(self, page: Page, airflow: Airflow) -> None:
        self.page = page
        self.airflow = airflow

    def log_in(self) -> None:
        """Log in on Airflow's own page, whichever manager of users it has."""
        self.page.goto(self.airflow.url)
        self.page.locator("input[name=username]").fill(self.airflow.user)
        self.page.locator("input[name=password]").fill(self.airflow.password)
        self.page.locator("input[name=password]").press("Enter")
        expect(self.page.get_by_role("link", name="Dags", exact=True)).to_be_visible()

    def open(self, path: str) -> None:
        """Open a page of the UI by its path, as links do, which load the UI only once.

        The page before stays until the next one is drawn, and must not be read as that one. So the person comes from a
        page that does not exist: when the UI says so, nothing is left of the page before.
        """
        self.rest()
        self.page.evaluate(_FOLLOW, path)

    def open_report(self, dag_id: str, run_id: str) -> None:
        """Open a run's page, and its tab with the report."""
        self.open(f"/dags/{dag_id}/runs/{quote(run_id)}")
        self.page.get_by_role("link", name="Report", exact=True).click()

    def open_form(self, dag_id: str) -> "Form":
        """Open the form that triggers a run."""
        self.open(f"/dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger").first.click()
        return Form(self.page)

    def rest(self) -> None:
        """Leave Airflow's pages, which ask for news all the time, for one that does not exist."""
        self.page.evaluate(_FOLLOW, _NOWHERE)
        expect(self.page.get_by_role("heading", name="404", exact=True)).to_be_visible()

    def frame(self) -> FrameLocator:
        """Return the page of ours that the UI shows in a frame."""
        return self.page.frame_locator("iframe")

    def expect_heading(self, words: str) -> None:
        """Wait for a heading of the page of ours."""
        expect(self.frame().get_by_role("heading", name=words, exact=True)).to_be_visible()

    def scripted_frame(self) -> Frame:
        """Return that page, once it is there, to run a script in it."""
        frame = self.page.locator("iframe").element_handle().content_frame()
        assert frame
        return frame

    def take_pictures(self, name: str) -> None:
        """Save what is seen in all sizes and themes as `NAME-WIDTH-THEME.png`, if somebody wants pictures."""
        if PICTURES is None:
            return
        for theme in THEMES:
            self._choose(theme)
            for width, height in SIZES:
                self.page.set_viewport_size({"width": width, "height": height})
                _save(self.page.screenshot(full_page=True, animations="disabled"), name=f"{name}-{width}-{theme}")
        self._choose(THEMES[0])

    def _choose(self, theme: str) -> None:
        """Choose the theme as the UI's own switch does, and tell pages that ask the browser."""
        self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        self.page.evaluate(
            """theme => {
                localStorage.setItem('theme', theme)
                window.dispatchEvent(new StorageEvent('storage', {key: 'theme', newValue: theme}))
            }""",
            theme,
        )
        expect(self.page.locator("html")).to_have_class(re.compile(rf"\b{theme}\b"))


class Form:
    """The form that triggers a run."""

    def __init__(self, page: Page) -> None:
        self.dialog = page.get_by_role("dialog")

    def open_section(self, name: str) -> None:
        """Open a section; the one that was open closes."""
        section = self.dialog.get_by_role("button", name=name, exact=True)
        if section.get_attribute("aria-expanded") != "true":
            section.click()
        expect(section).to_have_attribute("aria-expanded", "true")

    def field(self, name: str) -> Locator:
        """Return the field of a Param; its section must be open."""
        return self.dialog.locator(f"[name=element_{name}]")

    def trigger(self) -> None:
        """Trigger the run."""
        self.dialog.get_by_role("button", name="Trigger").click()
        expect(self.dialog).to_be_hidden()


@contextmanager
def browsing(airflow: Airflow) -> Iterator[Person]:
    """Open a browser on Airflow, and log in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": SIZES[0][0], "height": SIZES[0][1]}, locale="en-GB", timezone_id="UTC"
        )
        page.set_default_timeout(_SECONDS * 1000)
        expect.set_options(timeout=_SECONDS * 1000)
        person = Person(page, airflow)
        person.log_in()
        yield person
        browser.close()


def _save(png: bytes, *, name: str) -> None:
    """Write a picture with its most frequent colours, each exact, and the others as the nearest of these."""
    folder = Path(str(PICTURES))
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    colours, which, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    kept = colours[np.argsort(-counts)[:_COLOURS]].astype(int)
    nearest = np.array([((kept - colour) ** 2).sum(axis=1).argmin() for colour in colours], np.uint8)
    picture = Image.fromarray(nearest[which.reshape(pixels.shape[:2])], mode="P")
    picture.putpalette(kept.astype(np.uint8).tobytes())
    picture.save(folder / f"{name}.png", optimize=True)
