"""Conditional and range requests of an image (RFC 9110)."""

import pytest

from tests.support.in_process import problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestPreconditions:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        "field",
        ["{}", "W/{}", "*", ' "other" , {}', 'W/"other",W/{}', '"a,b", {}', '"", {}'],
    )
    async def test_a_client_that_has_the_image_is_told_so(
        self, shared_client, picture, method, field
    ):
        headers = {"if-none-match": field.format(picture.etag), "range": "bytes=0-1"}
        response = await shared_client.request(method, picture.url, headers=headers)
        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["etag"] == picture.etag
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "content-length" not in response.headers
        assert "content-type" not in response.headers

    @pytest.mark.parametrize("field", ['"other"', "", "nonsense", 'W/"other"', '"*"'])
    async def test_a_client_with_another_image_gets_this_one(self, shared_client, picture, field):
        response = await shared_client.get(picture.url, headers={"if-none-match": field})
        assert response.status_code == 200
        assert response.content == picture.content

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("field", ["{}", "*", '"other", {}'])
    async def test_if_match_lets_the_image_it_names_pass(
        self, shared_client, picture, method, field
    ):
        headers = {"if-match": field.format(picture.etag)}
        assert (
            await shared_client.request(method, picture.url, headers=headers)
        ).status_code == 200

    @pytest.mark.parametrize("field", ['"other"', "W/{}", "", '"*"'])
    async def test_if_match_refuses_any_other_and_comes_first(self, shared_client, picture, field):
        headers = {
            "if-match": field.format(picture.etag),
            "if-none-match": picture.etag,
            "range": "bytes=0-1",
        }
        response = await shared_client.get(picture.url, headers=headers)
        assert picture.etag in problem(response, 412, "precondition-failed")["detail"]
        assert (await shared_client.head(picture.url, headers=headers)).status_code == 412

    async def test_dates_decide_nothing(self, shared_client, picture):
        headers = {
            "if-modified-since": "Sat, 01 Jan 2050 00:00:00 GMT",
            "if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT",
        }
        assert (await shared_client.get(picture.url, headers=headers)).status_code == 200


class TestRanges:
    @pytest.mark.parametrize(
        ("field", "start", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=100-", 100, None),
            ("bytes=-1", -1, None),
            ("bytes=-100", -100, None),
            ("bytes=-99999999", 0, None),
            ("bytes=10-99999999", 10, None),
            ("bytes=0-", 0, None),
            ("BYTES=1-2", 1, 3),
            (" bytes = 1 - 2 ", 1, 3),
        ],
    )
    async def test_one_range_is_answered_with_its_bytes(
        self, shared_client, picture, field, start, end
    ):
        response = await shared_client.get(picture.url, headers={"range": field})
        part = picture.content[start:end]
        first = start if start >= 0 else picture.length + start
        assert response.status_code == 206
        assert response.content == part
        assert response.headers["content-length"] == str(len(part))
        expected = f"bytes {first}-{first + len(part) - 1}/{picture.length}"
        assert response.headers["content-range"] == expected
        whole = await shared_client.get(picture.url)
        for name in ("etag", "repr-digest", "cache-control", "content-type", "accept-ranges"):
            assert response.headers[name] == whole.headers[name]

    @pytest.mark.parametrize(
        "field",
        [
            "bytes=0-1,5-6",
            "bytes=0-1, -5",
            "bytes=5-2",
            "bytes=-",
            "bytes=",
            "bytes",
            "bytes=a-b",
            "bytes=-1-2",
            "bytes=+1-2",
            "bytes=1-2x",
            "bytes=0x1-2",
            "seconds=0-1",
            "0-1",
            "",
            "bytes=\u0661-\u0662",
            "bytes=" + "9" * 5000 + "-",
            "bytes=0-" + "9" * 5000,
            "bytes=-" + "9" * 5000,
        ],
    )
    async def test_several_ranges_and_malformed_ones_are_ignored(
        self, shared_client, picture, field
    ):
        response = await shared_client.get(picture.url, headers={"range": field.encode()})
        assert response.status_code == 200
        assert response.content == picture.content
        assert "content-range" not in response.headers

    @pytest.mark.parametrize("field", ["bytes={}-", "bytes={}-{}", "bytes=999999999-", "bytes=-0"])
    async def test_a_range_outside_the_image_says_how_long_it_is(
        self, shared_client, picture, field
    ):
        headers = {"range": field.format(picture.length, picture.length + 5)}
        response = await shared_client.get(picture.url, headers=headers)
        problem(response, 416, "range-not-satisfiable")
        assert response.headers["content-range"] == f"bytes */{picture.length}"

    async def test_head_has_no_ranges(self, shared_client, picture):
        for field in ("bytes=0-1", "bytes=999999999-"):
            response = await shared_client.head(picture.url, headers={"range": field})
            assert response.status_code == 200
            assert response.headers["content-length"] == str(picture.length)

    @pytest.mark.parametrize(
        ("condition", "status"),
        [
            ("{}", 206),
            ("W/{}", 200),
            ('"other"', 200),
            ("Sat, 01 Jan 2050 00:00:00 GMT", 200),
            ("", 200),
        ],
    )
    async def test_if_range_gives_the_part_only_of_the_image_it_names(
        self, shared_client, picture, condition, status
    ):
        headers = {"range": "bytes=1-5", "if-range": condition.format(picture.etag)}
        response = await shared_client.get(picture.url, headers=headers)
        assert response.status_code == status
        assert response.content == (picture.content[1:6] if status == 206 else picture.content)

    async def test_parts_put_together_are_the_image(self, shared_client, picture):
        step, whole = 777, b""
        while len(whole) < picture.length:
            headers = {"range": f"bytes={len(whole)}-{len(whole) + step - 1}"}
            whole += (await shared_client.get(picture.url, headers=headers)).content
        assert whole == picture.content
