"""The pages, as files; tests/browser/ has a browser show them."""

import re
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings

WEB = Path(__file__).parents[2] / "app/web"
PAGES = ["/", "/docs"]
OURS = [f"/web/{path.name}" for path in sorted(WEB.iterdir())]
# Another origin, also without its scheme. A namespace of XML is a name and is never fetched.
ABSOLUTE = re.compile(r"""https?:(?!//www\.w3\.org/2000/svg)|wss?:|["'(=]\s*//""")


@pytest.mark.parametrize("path", PAGES + OURS)
async def test_no_page_has_an_absolute_url(client, path):
    response = await client.get(path)
    assert response.status_code == 200
    assert not ABSOLUTE.search(response.text)


@pytest.mark.parametrize("path", PAGES)
async def test_every_file_that_a_page_names_is_served(client, path):
    html = (await client.get(path)).text
    named = [link for link in re.findall(r'(?:src|href|action)="([^"]+)"', html) if "." in link]
    assert len(named) >= 3
    for link in named:
        response = await client.get(f"/{link}")
        assert response.status_code == 200, link
        assert response.content


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_has_no_inline_script_and_no_inline_style(client, path):
    html = (await client.get(path)).text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html)


@pytest.mark.parametrize("path", [*PAGES, *OURS, "/web/swagger-ui-bundle.js"])
async def test_the_policy_lets_in_nothing_but_this_gateway(client, path):
    policy = (await client.get(path)).headers["content-security-policy"]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives.pop("img-src") == "'self' data: blob:"
    assert directives["default-src"] == "'none'"
    assert set(directives.values()) == {"'none'", "'self'"}


@pytest.mark.parametrize("path", [*PAGES, "/web/index.js", "/web/swagger-ui-bundle.js"])
async def test_a_file_that_the_browser_has_is_not_sent_again(client, path):
    first = await client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await client.head(path)).headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize(
    "path", ["/web/", "/web/nothing.js", "/web/%2e%2e/main.py", "/web/..%2fmain.py", "/web/%00"]
)
async def test_what_is_no_file_of_a_page_is_a_problem(client, path):
    response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", [*PAGES, "/web/index.js"])
async def test_a_page_is_only_read(client, path):
    response = await client.delete(path)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_pages_are_not_part_of_the_described_api():
    paths = create_app(Settings.model_construct()).openapi()["paths"]
    assert not set(paths) & {*PAGES, "/web/{path}"}
