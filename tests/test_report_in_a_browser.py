"""report.html as a person meets it: opened in Chromium, by day and by night, on a phone and on paper."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import LEFT_OUT, PROGRAM, chromium
from told_runs import huge, night

from pipeline.reports import write_html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=LEFT_OUT)

HEADINGS = [
    "Every row", "Why rows are not good", "How to go on", "What looked odd about rows that were taken",
    "How it went", "What happened, and who asked for it", "Answers that were lost", "The run",
    "Settings used",
]  # fmt: skip
WIDE, NARROW = {"width": 1100, "height": 900}, {"width": 390, "height": 844}
DARK, LIGHT = "rgb(22, 25, 28)", "rgb(255, 255, 255)"
SCREENSHOTS = os.environ.get("SIMLIFT_SCREENSHOTS")  # a folder to look at them in


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("night") / "report.html"
    write_html(night(), path)
    return path


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """Give the page as it stands in a wide window; whatever it complains of or asks for fails the test."""
    page = browser.new_page(viewport=WIDE)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert complaints == []
    assert requests == [report.as_uri()]


def look_at(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def test_every_heading_can_be_seen_in_its_order(page: Page) -> None:
    headings = page.locator("h2")
    assert headings.all_inner_texts() == HEADINGS
    assert all(heading.is_visible() for heading in headings.all())
    look_at(page, "light")


def test_the_verdict_is_seen_first_without_scrolling(page: Page) -> None:
    box = page.locator(".verdict").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 200


def test_the_pictures_are_seen_with_lines_in_them(page: Page) -> None:
    pictures = page.locator("figure svg")
    assert pictures.count() == 4
    for picture in pictures.all():
        box = picture.bounding_box()
        assert box is not None
        assert box["width"] > 600
        assert box["height"] > 150
        line = picture.locator(".serie-3 path.line").first
        assert line.evaluate("line => line.getTotalLength()") > 100
        assert line.evaluate("line => getComputedStyle(line).stroke") == "rgb(31, 111, 139)"


def test_the_pictures_times_lie_under_one_another(page: Page) -> None:
    edges = {round(plot.bounding_box()["x"]) for plot in page.locator("figure svg .plot > .background").all()}
    assert len(edges) == 1


def test_a_reader_who_likes_the_dark_gets_light_words_on_dark_paper(page: Page) -> None:
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == LIGHT
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == DARK
    title = page.locator("svg .plot_title").first
    assert title.evaluate("title => getComputedStyle(title).fill") == "rgb(228, 231, 234)"
    look_at(page, "dark")


def test_on_a_phone_nothing_sticks_out_and_nothing_is_squeezed_to_a_column_of_letters(page: Page) -> None:
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    narrowest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('td')].map(cell => cell.getBoundingClientRect().width))"
    )
    assert narrowest > 25
    look_at(page, "narrow")


def test_on_paper_it_is_dark_on_white_whatever_the_reader_likes(page: Page, tmp_path: Path) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == LIGHT
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    look_at(page, "print")
    printed = page.pdf(path=Path(SCREENSHOTS or tmp_path) / "report.pdf", format="A4")
    assert printed.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8


def test_a_page_with_more_of_everything_is_opened_too(browser: Browser, tmp_path: Path) -> None:
    write_html(huge('<b>"words"</b> & more ' * 20), tmp_path / "report.html")
    page = browser.new_page(viewport=NARROW)
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("figure svg").count() == 5
    assert page.locator("b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.close()
