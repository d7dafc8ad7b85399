"""Signed links in a real browser: what cannot send headers works where a key is needed."""

import pytest

from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.links import link

# True once the picture has pixels, which a broken one never gets.
SHOWS = "image => image.complete && image.naturalWidth > 0"


@pytest.fixture
def gateway(new_gateway, tmp_path):
    (tmp_path / "data").mkdir()
    key = make_key(tmp_path / "data", "admin")
    gateway = new_gateway()
    gateway.key = key
    return gateway


def store(gateway):
    with gateway.client(headers=bearer(gateway.key)) as client:
        return client.post("/images", content=images.jpeg(images.photo())).json()["id"]


def test_pictures_events_and_forms_need_no_key_but_a_link(gateway, visit):
    image_id = store(gateway)
    page = visit(gateway, "/").page
    for url in (
        link(gateway, kind="download", image_id=image_id),
        link(gateway, kind="stream", stream="images.mjpeg", width=320),
    ):
        picture = page.evaluate_handle(
            "url => { const image = new Image(); image.src = url;"
            " document.body.append(image); return image; }",
            url,
        )
        page.wait_for_function(SHOWS, arg=picture.as_element())
    page.evaluate(
        "url => { window.events = []; const source = new EventSource(url);"
        " source.onopen = () => window.events.push('open');"
        " source.addEventListener('image.stored',"
        "  event => window.events.push(JSON.parse(event.data).id)); }",
        link(gateway, kind="stream", stream="images"),
    )
    page.wait_for_function("() => window.events.length === 1")
    with page.expect_navigation() as navigation:
        page.evaluate(
            "([url, base64]) => {"
            " const form = document.createElement('form');"
            " Object.assign(form, { method: 'post', action: url, enctype: 'multipart/form-data' });"
            " const input = Object.assign(document.createElement('input'),"
            "  { type: 'file', name: 'file' });"
            " const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));"
            " const chosen = new DataTransfer(); chosen.items.add(new File([bytes], 'a.gif'));"
            " input.files = chosen.files; form.append(input); document.body.append(form);"
            " form.submit(); }",
            [
                link(gateway, kind="upload"),
                "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
            ],
        )
    assert navigation.value.status == 201
