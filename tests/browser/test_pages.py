"""The pages in a real browser, with a real gateway behind them."""

import io
import re

import httpx
import pytest
from PIL import Image, ImageColor

from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.gateway_process import until

# True once the picture has pixels, which a broken one never gets.
SHOWS = "image => image.complete && image.naturalWidth > 0"

VISITOR = ("images:write", "images:read", "images:list", "images:delete", "streams:read")


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


def image_file(name, data):
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def store(gateway, seed):
    with gateway.client() as client:
        response = client.post("/images", content=images.jpeg(images.photo(seed=seed)))
        assert response.status_code == httpx.codes.CREATED
        return response.json()["id"]


def shown(page):
    """The ids of the pictures on the start page, in order."""
    return page.eval_on_selector_all("#pictures li", "all => all.map(item => item.dataset.id)")


def await_pictures(page, ids):
    page.wait_for_function(
        "ids => JSON.stringify(ids) === JSON.stringify("
        "[...document.querySelectorAll('#pictures li')].map(item => item.dataset.id))",
        arg=ids,
    )


def look_away(page, *, hidden):
    """Tell the page that its tab is hidden, or seen again."""
    page.evaluate(
        "hidden => {"
        " Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


class TestStartPage:
    def test_chosen_images_are_stored_and_shown_and_what_is_none_says_why(self, gateway, visit):
        start = visit(gateway, "/")
        page = start.page
        page.get_by_text("There are no pictures yet.").wait_for()
        files = [
            image_file("one.jpg", images.jpeg(images.photo(seed=1))),
            image_file("words.txt", b"not an image at all"),
            image_file("two.png", images.png(images.photo(seed=2))),
        ]
        page.set_input_files("#file", files)
        page.get_by_role("button", name="Upload").click()
        page.get_by_text("two.png: stored").wait_for()
        assert "Accepted are" in page.locator(".failed").inner_text()
        page.locator("#pictures li").nth(1).wait_for()
        names = page.locator("#pictures .name").all_inner_texts()
        assert names == ["two.png", "one.jpg"]
        for picture in page.locator("#pictures img").all():
            page.wait_for_function(SHOWS, arg=picture.element_handle())
        assert page.get_by_text("There are no pictures yet.").is_hidden()
        assert start.foreign == []
        # The browser itself says so of every answer of 400 and above.
        assert [line for line in start.complaints if "415" not in line] == []

    def test_an_image_is_dropped_and_pasted(self, gateway, visit):
        page = visit(gateway, "/").page
        data = images.jpeg()
        transfer = page.evaluate_handle(
            "bytes => { const transfer = new DataTransfer();"
            " transfer.items.add(new File([new Uint8Array(bytes)], 'dropped.jpg'));"
            " return transfer; }",
            list(data),
        )
        page.dispatch_event("#upload", "drop", {"dataTransfer": transfer})
        page.get_by_text("dropped.jpg: stored").wait_for()
        page.evaluate(
            "clipboardData => dispatchEvent(new ClipboardEvent('paste', { clipboardData }))",
            transfer,
        )
        page.locator("#outcomes .stored").nth(1).wait_for()
        page.locator("#pictures li").nth(1).wait_for()

    def test_what_others_store_and_delete_is_seen_live(self, gateway, visit):
        first = store(gateway, 1)
        page = visit(gateway, "/").page
        await_pictures(page, [first])
        second = store(gateway, 2)
        await_pictures(page, [second, first])
        with gateway.client() as client:
            client.delete(f"/images/{first}")
        await_pictures(page, [second])

    def test_it_goes_on_after_the_gateway_was_away(self, gateway, visit):
        page = visit(gateway, "/").page
        page.get_by_text("live", exact=True).wait_for()
        port = gateway.address[1]
        assert gateway.terminate() == 0
        page.get_by_text("reconnecting …").wait_for()
        gateway.spawn("--port", str(port))
        await_pictures(page, [store(gateway, 1)])

    def test_a_key_is_asked_for_and_used_for_ones_own_pictures(self, new_gateway, visit):
        gateway = new_gateway()
        key, other = (make_key(gateway.data_dir, *VISITOR) for _ in range(2))
        until(lambda: httpx.get(f"{gateway.url}/images").status_code == httpx.codes.UNAUTHORIZED)
        with gateway.client(headers=bearer(key)) as client:
            first = client.post("/images", content=images.jpeg(images.photo(seed=1))).json()["id"]
            client.post("/images", content=images.jpeg(), headers=bearer(other))
        start = visit(gateway, "/")
        page = start.page
        page.get_by_label("needs an API key").fill(f" {key} ")
        page.get_by_role("button", name="Use it").click()
        await_pictures(page, [first])
        page.wait_for_function(SHOWS, arg=page.locator("#pictures img").element_handle())
        page.get_by_text("live", exact=True).wait_for()
        page.set_input_files("#file", [image_file("two.jpg", images.jpeg())])
        page.get_by_role("button", name="Upload").click()
        page.get_by_text("two.jpg: stored").wait_for()
        page.locator("#pictures li").nth(1).wait_for()
        # What the key does elsewhere is seen live, too.
        with gateway.client(headers=bearer(key)) as client:
            client.delete(f"/images/{first}")
        page.wait_for_function("() => document.querySelectorAll('#pictures li').length === 1")
        assert page.get_by_label("needs an API key").is_hidden()
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
            0,
            0,
            "",
        ]
        assert [line for line in start.complaints if "401" not in line] == []

    def test_a_hidden_page_holds_no_connection(self, gateway, visit):
        page = visit(gateway, "/").page
        page.get_by_text("live", exact=True).wait_for()
        look_away(page, hidden=True)
        # The request of a stream is logged when it has ended.
        gateway.await_output("/streams/images")
        stored = store(gateway, 1)
        look_away(page, hidden=False)
        await_pictures(page, [stored])

    def test_a_file_name_is_shown_as_text(self, gateway, visit):
        name = "<img src=x onerror=alert(1)>.jpg"
        with gateway.client() as client:
            client.post("/images", files={"file": (name, images.jpeg())})
        start = visit(gateway, "/")
        start.page.locator("#pictures li").wait_for()
        assert start.page.locator("#pictures .name").inner_text() == name
        assert start.page.locator("#pictures img").count() == 1
        assert start.complaints == []

    def test_the_form_works_without_scripts(self, gateway, browser):
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(gateway.url)
        page.set_input_files("#file", image_file("plain.jpg", images.jpeg()))
        page.get_by_role("button", name="Upload").click()
        page.get_by_text('"filename":"plain.jpg"').wait_for()
        context.close()


class TestDocs:
    def test_an_upload_is_tried_out_and_nothing_else_is_asked(self, new_gateway, visit):
        gateway = new_gateway(IMAGEGATE_HTTP__HOSTS="elsewhere.test")
        docs = visit(gateway, "/docs", host="elsewhere.test")
        page = docs.page
        block = page.locator("#operations-images-uploadImage")
        block.locator(".opblock-summary-control").click()
        block.locator("input[type=file]").set_input_files(image_file("try.jpg", images.jpeg()))
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        answer.get_by_text("201").first.wait_for()
        assert "try.jpg" in answer.inner_text()
        with gateway.client() as client:
            assert [each["filename"] for each in client.get("/images").json()["images"]] == [
                "try.jpg"
            ]
        assert docs.foreign == []
        # Only a page of https or of this machine can be parted from other windows.
        assert [line for line in docs.complaints if "Cross-Origin-Opener-Policy" not in line] == []

    def test_what_is_not_filled_in_is_not_sent(self, gateway, visit):
        image_id = store(gateway, 1)
        page = visit(gateway, "/docs").page
        for operation in ("listImages", "downloadImage"):
            block = page.locator(f"#operations-images-{operation}")
            block.locator(".opblock-summary-control").click()
            if operation == "downloadImage":
                block.get_by_placeholder("image_id").fill(image_id)
            block.get_by_role("button", name="Execute").click()
            block.locator(".live-responses-table .response-col_status").get_by_text(
                "200"
            ).wait_for()
            curl = block.locator(".curl-command").inner_text()
            assert "?" not in curl.replace("?limit=50", "")
            assert re.findall(r"-H '([^:]+)", curl) == ["accept"]

    def test_every_operation_is_there_and_endless_ones_are_not_tried_out(self, gateway, visit):
        page = visit(gateway, "/docs").page
        page.locator(".opblock").first.wait_for()
        with gateway.client() as client:
            paths = client.get("/openapi.json").json()["paths"]
        assert page.locator(".opblock").count() == sum(map(len, paths.values()))
        block = page.locator("#operations-streams-streamImages")
        block.locator(".opblock-summary-control").click()
        block.get_by_text("Responses").first.wait_for()
        assert block.get_by_role("button", name="Execute").count() == 0


class TestLivePictures:
    def test_an_img_tag_shows_each_newest_picture_though_none_follows_it(self, gateway, visit):
        page = visit(gateway, "/docs").page
        page.evaluate(
            "document.body.replaceChildren(new Image());"
            "document.querySelector('img').src = '/streams/images.mjpeg'"
        )
        for colour in ("red", "lime", "blue"):
            with gateway.client() as client:
                data = images.jpeg(Image.new("RGB", (300, 200), colour))
                assert client.post("/images", content=data).status_code == httpx.codes.CREATED
            until(lambda colour=colour: is_seen(page, colour))


def is_seen(page, colour):
    """Tell whether the middle of the page's picture is of a colour, JPEG's losses apart."""
    picture = page.locator("img")
    if not picture.evaluate("image => image.naturalWidth"):
        return False
    seen = Image.open(io.BytesIO(picture.screenshot())).convert("RGB").getpixel((150, 100))
    pairs = zip(seen, ImageColor.getrgb(colour), strict=True)
    return all(abs(shown - wanted) < 16 for shown, wanted in pairs)
