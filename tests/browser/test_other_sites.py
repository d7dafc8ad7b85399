"""Pages of other origins, in a real browser: what it and the gateway refuse together.

The pages come from a server of the test's, under names that lead to 127.0.0.1 as the gateway does.
"""

import http.server
import threading
from contextlib import contextmanager

import httpx
import pytest

from tests.support import images

JPEG = images.jpeg(images.photo((320, 240)))
FILE = {"name": "evil.jpg", "mimeType": "image/jpeg", "buffer": JPEG}
# Another site, and another port of this machine, which is the same site as the gateway.
ELSEWHERE = ["evil.test", "localhost"]
FORM = """<form method=post enctype=multipart/form-data target=answer><input type=file name=file>
<button>Win a prize</button></form><iframe name=answer></iframe>"""
SANDBOXED = f'<iframe sandbox="allow-forms" srcdoc="{FORM.replace("target=answer", "")}"></iframe>'
# The width of a picture; 0 if the browser does not show it.
WIDTH = """([url, crossOrigin]) => new Promise(done => {
  const image = new Image();
  image.onerror = () => done(0);
  if (crossOrigin) image.crossOrigin = "anonymous";
  image.src = url;
  document.body.append(image);
  setInterval(() => image.naturalWidth && done(image.naturalWidth), 50);
})"""
# `read` resolves to an answer's status, headers and text, or to null where a script may not see it.
READ = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return [answer.status, Object.fromEntries(answer.headers), await answer.text()];
  } catch (error) {
    return null;
  }
}"""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/form": FORM, "/sandboxed": SANDBOXED}.get(self.path, "<!doctype html>").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def other_site():
    """Serve the other pages until the end; yields the port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def port():
    """The port of the server with the other pages."""
    with other_site() as its_port:
        yield its_port


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


def local(gateway):
    """The gateway's address by the name that people use."""
    return f"http://localhost:{gateway.address[1]}"


def store(gateway):
    with gateway.client() as client:
        response = client.post("/images", content=JPEG)
        assert response.status_code == httpx.codes.CREATED
        return response.json()["url"]


def stored(gateway):
    with gateway.client() as client:
        return [each["url"] for each in client.get("/images").json()["images"]]


class TestChanges:
    @pytest.mark.parametrize("host", ELSEWHERE)
    def test_a_form_stores_nothing(self, gateway, page, port, host):
        page.goto(f"http://{host}:{port}/form")
        page.evaluate(
            "url => { document.querySelector('form').action = url }", f"{local(gateway)}/images"
        )
        page.set_input_files("input", FILE)
        page.get_by_text("Win a prize").click()
        page.frame_locator("iframe").get_by_text('"code":"cross-site"').wait_for()
        assert stored(gateway) == []

    def test_a_form_in_a_sandbox_whose_origin_is_null_stores_nothing(self, gateway, page, port):
        page.goto(f"http://evil.test:{port}/sandboxed")
        frame = page.frame_locator("iframe")
        frame.locator("input").set_input_files(FILE)
        frame.locator("form").evaluate(
            "(form, url) => { form.action = url }", f"{local(gateway)}/images"
        )
        frame.get_by_text("Win a prize").click()
        frame.get_by_text('"code":"cross-site"').wait_for()
        gateway.await_output('"code": "cross-site"')
        assert stored(gateway) == []

    @pytest.mark.parametrize("host", ELSEWHERE)
    def test_a_script_neither_stores_nor_deletes_nor_reads(self, gateway, page, port, host):
        url = store(gateway)
        page.goto(f"http://{host}:{port}")
        base = local(gateway)
        for path, options in (
            ("/images", {"method": "POST", "body": "x"}),
            ("/images", {"method": "POST", "body": "x", "mode": "no-cors"}),
            (url, {"method": "DELETE"}),
        ):
            answer = page.evaluate(READ, [base + path, options])
            assert answer in (None, [0, {}, ""])
            gateway.await_output('"code": "cross-site"')
            gateway.output.clear()
        for path in ("/images", f"{url}/metadata", url, "/streams/images"):
            assert page.evaluate(READ, [base + path, {}]) is None
        assert stored(gateway) == [url]


class TestEmbedding:
    @pytest.mark.parametrize("host", ELSEWHERE)
    def test_no_other_page_shows_an_image_or_the_live_pictures(self, gateway, page, port, host):
        url = store(gateway)
        page.goto(f"http://{host}:{port}")
        for path in (url, "/streams/images.mjpeg"):
            assert page.evaluate(WIDTH, [gateway.url + path, False]) == 0

    def test_one_does_where_the_operator_allows_it(self, new_gateway, page, port):
        gateway = new_gateway(IMAGEGATE_HTTP__EMBEDDING="cross-origin")
        url = store(gateway)
        page.goto(f"http://evil.test:{port}")
        for path in (url, "/streams/images.mjpeg"):
            assert page.evaluate(WIDTH, [gateway.url + path, False]) == 320

    def test_our_own_page_does_and_an_image_is_shown_by_itself(self, gateway, page):
        url = store(gateway)
        page.goto(f"{local(gateway)}/docs")
        for path in (url, "/streams/images.mjpeg"):
            assert page.evaluate(WIDTH, [path, False]) == 320
        page.goto(local(gateway) + url)
        page.wait_for_function("document.querySelector('img')?.naturalWidth === 320")


class TestRebinding:
    def test_a_page_under_a_name_of_its_own_reaches_nothing(self, new_gateway, page):
        """The site's server is gone, and the gateway answers under its name and port."""
        with other_site() as port:
            page.goto(f"http://evil.test:{port}")
        gateway = new_gateway("--port", str(port))
        url = store(gateway)
        for path, options in (
            ("/images", {}),
            (url, {}),
            (url, {"method": "DELETE"}),
            ("/images", {"method": "POST", "body": "x"}),
            ("/", {}),
        ):
            status, _, text = page.evaluate(READ, [path, options])
            assert (status, '"misdirected-request"' in text) == (421, True)
        assert page.evaluate(WIDTH, ["/streams/images.mjpeg", False]) == 0
        assert stored(gateway) == [url]


class TestAllowedOrigin:
    @pytest.fixture
    def gateway(self, new_gateway, port):
        return new_gateway(IMAGEGATE_HTTP__CORS_ORIGINS=f"http://app.test:{port}")

    @pytest.fixture
    def app(self, page, port):
        page.goto(f"http://app.test:{port}")
        return page

    def test_a_page_uploads_with_progress(self, gateway, app):
        """`onprogress` makes the browser send a preflight."""
        status, location, loaded, total = app.evaluate(
            """([url, bytes]) => new Promise(done => {
              const body = new FormData();
              body.append("file", new File([new Uint8Array(bytes)], "mine.jpg"));
              const request = new XMLHttpRequest();
              let progress = [];
              request.upload.onprogress = ({ loaded, total }) => { progress = [loaded, total]; };
              request.onloadend = () =>
                done([request.status, request.getResponseHeader("Location"), ...progress]);
              request.open("POST", url);
              request.setRequestHeader("X-Request-ID", "of-the-app");
              request.send(body);
            })""",
            [f"{local(gateway)}/images", list(JPEG)],
        )
        assert (status, [location]) == (201, stored(gateway))
        assert loaded == total > len(JPEG)
        assert '"OPTIONS"' in gateway.await_output('"status": 204')
        gateway.await_output("of-the-app")

    def test_it_reads_images_headers_and_problems_and_deletes(self, gateway, app):
        url = store(gateway)
        base = local(gateway)
        status, headers, text = app.evaluate(READ, [f"{base}/images", {}])
        assert (status, url in text) == (200, True)
        options = {"headers": {"Range": "bytes=0-9", "X-Request-ID": "mine"}}
        status, headers, _ = app.evaluate(READ, [base + url, options])
        assert (status, headers["x-request-id"]) == (206, "mine")
        assert {"etag", "repr-digest", "content-range", "content-disposition"} <= set(headers)
        assert app.evaluate(WIDTH, [base + url, True]) == 320
        # Without `crossorigin` it is for EMBEDDING to allow.
        assert app.evaluate(WIDTH, [base + url, False]) == 0
        status, _, text = app.evaluate(READ, [f"{base}/images", {"method": "POST", "body": "x"}])
        assert (status, '"unsupported-' in text) == (415, True)
        assert app.evaluate(READ, [base + url, {"method": "DELETE"}])[0] == 204
        assert app.evaluate(READ, [base + url, {}])[0] == 410
        assert stored(gateway) == []

    def test_it_follows_the_events(self, gateway, app):
        app.evaluate(
            """url => new Promise(opened => {
              const stream = new EventSource(url);
              stream.onopen = opened;
              window.event = new Promise(seen => {
                stream.addEventListener("image.stored", ({ data }) => seen(JSON.parse(data).url));
              });
            })""",
            f"{local(gateway)}/streams/images",
        )
        url = store(gateway)
        assert app.evaluate("window.event") == url

    def test_no_other_page_may(self, gateway, page, port):
        page.goto(f"http://evil.test:{port}")
        assert page.evaluate(READ, [f"{local(gateway)}/images", {}]) is None
