"""Headless Chromium does what it is told, and says what went wrong."""

from collections.abc import Iterator

import pytest

from grafana.draw.browser import Browser, BrowserFailed, run_browser

pytestmark = pytest.mark.peer("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests here."""
    with run_browser() as running:
        yield running


def test_it_shows_a_page_and_draws_it(browser: Browser) -> None:
    """As large as it is told, and a promise is waited for."""
    browser.open("data:text/html,<body>Hello", 320, 200)
    script = "new Promise((done) => setTimeout(() => done([innerWidth, innerHeight]), 20))"
    assert browser.evaluate(script) == [320, 200]
    png = browser.picture()
    assert png.startswith(b"\x89PNG")
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (320, 200)


def test_errors_of_the_page_are_kept(browser: Browser) -> None:
    """What nobody catches in a script."""
    browser.errors.clear()
    throws = "setTimeout(() => { throw new Error('oh dear') })"
    browser.evaluate(f"new Promise((done) => {{ {throws}; setTimeout(done, 20) }})")
    (error,) = browser.errors
    assert "oh dear" in error


def test_what_can_not_be_done_is_an_error(browser: Browser) -> None:
    """A script that fails, a page that isn't there, a word that Chromium doesn't know."""
    with pytest.raises(BrowserFailed, match="oh dear"):
        browser.evaluate("Promise.reject(new Error('oh dear'))")
    with pytest.raises(BrowserFailed, match="net::ERR"):
        browser.open("http://127.0.0.1:9/", 320, 200)
    with pytest.raises(BrowserFailed, match="wasn't found"):
        browser.call("Page.nonsense")


def test_a_browser_that_does_not_start_is_an_error() -> None:
    """Here one that ends at once."""
    with pytest.raises(BrowserFailed, match="gone"), run_browser("true"):
        pass
