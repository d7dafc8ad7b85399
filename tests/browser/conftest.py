"""A real Chromium, the one that is installed, driven by Playwright."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.support.gateway_process import new_gateway

__all__ = ["new_gateway"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Root cannot have its sandbox, and it must not ask the internet. Pages may behave differently on a
# loopback address, and sites point names at it, so names below `test` are others for it.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)


# Not for the session: Playwright's event loop would still run when asynchronous tests want theirs.
@pytest.fixture(scope="package")
def browser():
    """The browser that the tests share; each opens a page of its own."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        missing = f"needs Chromium, as one of: {', '.join(NAMES)}"
        if os.environ.get("TEST_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Visit:
    """A page of a gateway, open in a browser.

    Attributes:
        complaints: Lines of the browser's console: refusals by the policy, and errors of scripts.
        foreign: Requested addresses outside of the gateway.
    """

    def __init__(self, page, url):
        self.page = page
        self.complaints, self.foreign = [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request.url, url))

    def _asked(self, url, home):
        if not url.startswith((f"{home}/", "data:", "blob:")):
            self.foreign.append(url)


@pytest.fixture
def visit(browser):
    """Open a path of a gateway in a new page: `visit(gateway, "/docs")`; by another name than that
    of loopback: `visit(gateway, "/docs", host="elsewhere.test")`.
    """
    contexts = []

    def start(gateway, path, host="127.0.0.1"):
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 900}))
        url = f"http://{host}:{gateway.address[1]}"
        opened = Visit(contexts[-1].new_page(), url)
        # A live picture has no end, so a page with one never counts as loaded.
        opened.page.goto(url + path, wait_until="domcontentloaded")
        return opened

    yield start
    for context in contexts:
        context.close()
