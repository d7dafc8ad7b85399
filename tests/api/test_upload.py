"""`POST /images`: accepted and refused bodies, options, and the answer."""

import asyncio
import hashlib
import io

import pytest
from PIL import Image

from tests.support import images
from tests.support.in_process import problem


async def stored_count(client):
    return len((await client.get("/images?limit=1000")).json()["images"])


class TestForms:
    @pytest.mark.parametrize(
        "part",
        [
            ("img.jpg", "image/jpeg"),
            ("img.jpg", "application/octet-stream"),
            ("img.png", "text/plain"),
            ("blob", "image/gif"),
        ],
    )
    async def test_a_part_named_file_is_accepted_whatever_it_declares(self, client, part):
        data = images.jpeg()
        response = await client.post("/images", files={"file": (part[0], data, part[1])})
        assert response.status_code == 201, response.text
        assert response.json()["content_type"] == "image/jpeg"

    async def test_a_part_without_a_file_name_is_accepted(self, client):
        body = (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            + images.jpeg()
            + b"\r\n--b--\r\n"
        )
        response = await client.post(
            "/images", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
        )
        assert response.status_code == 201, response.text
        assert response.json()["filename"] is None

    @pytest.mark.parametrize(
        ("before", "padding", "filename"),
        [
            (b"This is a multi-part message in MIME format.\r\n", b"", b'filename="a.jpg"'),
            (b"", b" \t", b'filename="a.jpg"'),
            (b"", b"", b"filename=\"=?utf-8?B?eA==?=\"; filename*=utf-8''a.jpg"),
        ],
    )
    async def test_a_form_is_accepted_as_mail_gateways_and_dotnet_write_it(
        self, client, before, padding, filename
    ):
        disposition = b"\r\nContent-Disposition: form-data; name=file; " + filename
        body = before + b"--b" + padding + disposition + b"\r\n\r\n" + images.jpeg() + b"\r\n--b--"
        response = await client.post(
            "/images", content=body, headers={"content-type": 'multipart/form-data; boundary="b"'}
        )
        assert response.status_code == 201, response.text
        assert response.json()["filename"] == "a.jpg"

    @pytest.mark.parametrize(
        "content_type", ["image/jpeg", "image/x-unheard-of", "application/octet-stream", None]
    )
    async def test_raw_bytes_are_accepted(self, client, content_type):
        headers = {"content-type": content_type} if content_type else {}
        response = await client.post("/images", content=images.png(), headers=headers)
        assert response.status_code == 201, response.text
        assert response.json()["content_type"] == "image/png"

    async def test_a_body_without_a_length_is_accepted(self, client):
        data = images.jpeg()

        async def pieces():
            for start in range(0, len(data), 1000):
                yield data[start : start + 1000]

        response = await client.post("/images", content=pieces())
        assert response.status_code == 201, response.text
        assert response.json()["receipt"]["received_bytes"] == len(data)

    async def test_the_answer_describes_what_is_served(self, client):
        data = images.jpeg(images.photo((640, 480)))
        response = await client.post("/images", files={"file": ("Ferien/Küste ☀.jpeg", data)})
        body = response.json()
        assert list(body)[:13] == [
            "id",
            "url",
            "sequence",
            "created_at",
            "content_type",
            "content_length",
            "digest",
            "width",
            "height",
            "frame_count",
            "filename",
            "profile",
            "receipt",
        ]
        assert (body["width"], body["height"], body["frame_count"]) == (640, 480, 1)
        assert body["filename"] == "Küste ☀.jpeg"
        assert response.headers["location"] == body["url"] == f"/images/{body['id']}"
        served = await client.get(body["url"])
        assert body["digest"] == f"sha256:{hashlib.sha256(served.content).hexdigest()}"
        assert body["content_length"] == body["receipt"]["stored_bytes"] == len(served.content)
        assert body["receipt"]["received_digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        for name in ("etag", "repr-digest"):
            assert served.headers[name] == response.headers[name]
        assert Image.open(io.BytesIO(served.content)).size == (640, 480)

    async def test_an_image_of_many_records_comes_back_whole(self, client):
        data = images.png(images.photo((1500, 1200), noise=255))
        assert len(data) > 4_000_000
        body = (await client.post("/images", content=data)).json()
        served = (await client.get(body["url"])).content
        assert images.same_pixels(images.pixels(served), images.pixels(data))
        half = len(served) // 2
        part = await client.get(body["url"], headers={"range": f"bytes={half - 900_000}-{half}"})
        assert part.status_code == 206
        assert part.content == served[half - 900_000 : half + 1]


class TestRefusals:
    async def test_a_form_without_a_file(self, client):
        response = await client.post("/images", files={"picture": ("a.jpg", images.jpeg())})
        problem(response, 422, "missing-file")

    async def test_an_image_in_a_part_of_another_name_is_told_so(self, client):
        data = images.png(images.photo((300, 300), noise=255))
        response = await client.post("/images", files={"image": ("a.png", data)})
        detail = problem(response, 422, "missing-file")["detail"]
        assert "'image'" in detail
        assert "part named file" in detail

    async def test_a_form_with_two_files(self, client):
        files = [("file", ("a.jpg", images.jpeg())), ("file", ("b.jpg", images.jpeg()))]
        problem(await client.post("/images", files=files), 422, "too-many-files")
        assert await stored_count(client) == 0

    async def test_a_form_that_is_cut_off(self, client):
        body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + images.jpeg()
        headers = {"content-type": "multipart/form-data; boundary=b"}
        problem(await client.post("/images", content=body, headers=headers), 400, "bad-request")
        assert await stored_count(client) == 0

    async def test_a_form_without_a_boundary(self, client):
        headers = {"content-type": "multipart/form-data"}
        problem(await client.post("/images", content=b"x", headers=headers), 400, "bad-request")

    async def test_a_body_of_another_type_says_what_to_send(self, client):
        response = await client.post("/images", json={"image": "aGk="})
        body = problem(response, 415, "unsupported-media-type")
        assert response.headers["accept"].startswith("multipart/form-data, image/*")
        assert "application/octet-stream" in body["detail"]

    async def test_bytes_that_are_no_image_name_the_accepted_formats(self, client):
        response = await client.post("/images", content=b"%PDF-1.7 ...")
        body = problem(response, 415, "unsupported-format")
        assert "image/jpeg, image/png" in response.headers["accept"]
        for name in ("JPEG", "PNG", "WebP", "GIF"):
            assert name in body["detail"]

    async def test_a_file_that_is_empty_in_either_form(self, client):
        problem(await client.post("/images", content=b""), 422, "empty-body")
        form = {"files": {"file": ("", b"", "application/octet-stream")}}
        problem(await client.post("/images", **form), 422, "empty-body")

    @pytest.mark.parametrize("coding", ["gzip", "br", "identity, GZIP", "unheard-of", "gzip, gzip"])
    async def test_a_body_with_a_coding_says_that_it_is_sent_without(self, client, coding):
        headers = {"content-encoding": coding}
        answer = await client.post("/images", content=images.jpeg(), headers=headers)
        problem(answer, 415, "unsupported-encoding")
        assert answer.headers["accept-encoding"] == "identity"
        answer = await client.post("/links", json={}, headers=headers)
        problem(answer, 415, "unsupported-encoding")

    @pytest.mark.parametrize("coding", ["", "identity", "Identity,"])
    async def test_a_coding_that_is_none_is_fine(self, client, coding):
        headers = {"content-encoding": coding}
        answer = await client.post("/images", content=images.jpeg(), headers=headers)
        assert answer.status_code == 201

    async def test_a_truncated_image_is_refused_and_nothing_is_stored(self, client):
        data = images.jpeg(images.photo((400, 300)))
        problem(await client.post("/images", content=data[: len(data) // 2]), 422, "invalid-image")
        assert await stored_count(client) == 0

    async def test_a_body_over_the_limit_announced_or_not(self, gateways):
        client = await gateways(upload={"max_bytes": 5000})
        data = images.png(images.photo((100, 100), noise=255))
        assert len(data) > 5000

        async def pieces():
            yield data

        for content in (data, pieces()):
            problem(await client.post("/images", content=content), 413, "body-too-large")
        problem(await client.post("/images", files={"file": data}), 413, "body-too-large")

    async def test_an_unknown_option_value_names_the_known_ones(self, client):
        response = await client.post("/images?profile=tiny", content=images.jpeg())
        assert "balanced" in problem(response, 422, "invalid-parameter")["detail"]
        form = {"files": {"file": images.jpeg()}, "data": {"profile": "tiny"}}
        problem(await client.post("/images", **form), 422, "invalid-parameter")
        form["data"] = {"profile": "balanced", "comment": "other fields are left alone"}
        assert (await client.post("/images", **form)).status_code == 201

    async def test_an_option_that_is_sent_empty_is_not_given(self, client):
        data = {"profile": "", "metadata": " ", "visibility": "", "expires_in": ""}
        form = {"files": {"file": images.jpeg()}, "data": data}
        answer = await client.post("/images?profile=small&profile=&metadata=", **form)
        assert answer.json()["profile"] == "small"

    @pytest.mark.parametrize("profile", ["original", "lossless", "balanced", "small"])
    async def test_a_profile_is_chosen_by_a_field_or_in_the_query(self, client, profile):
        data = images.jpeg(images.photo((320, 240)))
        form = {"files": {"file": data}, "data": {"profile": profile}}
        by_field = (await client.post("/images?profile=balanced", **form)).json()
        by_query = (await client.post(f"/images?profile={profile}", content=data)).json()
        assert by_field["profile"] == by_query["profile"] == profile
        assert by_field["digest"] == by_query["digest"]
        assert by_field["receipt"]["kept"] == (profile == "original")
        served = await client.get(by_field["url"])
        assert images.pixels(served.content).size == (320, 240)

    async def test_metadata_stays_where_that_is_requested_and_allowed(self, client, gateways):
        data = images.jpeg(images.photo((320, 240)))
        kept = await client.post("/images?profile=original&metadata=keep", content=data)
        assert (await client.get(kept.json()["url"])).content == data
        assert kept.json()["receipt"]["metadata_removed"] == []

    async def test_the_receipt_says_what_was_removed_and_not_its_quality(self, client):
        data = images.jpeg(images.photo((320, 240))) + images.ARCHIVE
        receipt = (await client.post("/images", content=data)).json()["receipt"]
        assert set(receipt["metadata_removed"]) == {
            *("comment", "exif", "gps", "iptc", "thumbnail", "trailer", "xmp")
        }
        assert receipt["quality"] is None

    async def test_a_server_can_have_the_quality_measured(self, gateways):
        client = await gateways(imaging={"measure_quality": True})
        data = images.jpeg(images.photo((320, 240), noise=8))
        receipt = (await client.post("/images", content=data)).json()["receipt"]
        assert 70 < receipt["quality"] < 100
        receipt = (await client.post("/images?profile=original", content=data)).json()["receipt"]
        assert receipt["quality"] == 100

    @pytest.mark.parametrize(
        ("accept", "content_type"),
        [
            ("*/*", "image/png"),
            ("application/json, image/webp;q=0", "image/png"),
            ("application/json, image/webp;q=0.8, */*", "image/webp"),
        ],
    )
    async def test_lossless_is_webp_where_the_client_accepts_it_and_it_is_smaller(
        self, client, accept, content_type
    ):
        data = images.png(images.photo((320, 240), noise=8))
        answer = await client.post(
            "/images?profile=lossless", content=data, headers={"accept": accept}
        )
        assert answer.json()["content_type"] == content_type
        served = await client.get(answer.json()["url"])
        assert images.same_pixels(images.pixels(data), images.pixels(served.content))

    async def test_small_is_avif_where_the_server_allows_its_cost(self, gateways):
        client = await gateways(imaging={"avif": True})
        data = images.jpeg(images.photo((320, 240), noise=8))
        image = (await client.post("/images?profile=small", content=data)).json()
        assert image["content_type"] == "image/avif"

    async def test_a_server_may_have_all_metadata_removed(self, gateways):
        client = await gateways(imaging={"metadata": "strip"})
        answer = await client.post("/images?profile=original&metadata=keep", content=images.jpeg())
        assert "allowed: strip." in problem(answer, 422, "invalid-parameter")["detail"]

    async def test_a_server_has_a_profile_of_its_own_and_a_list_of_those_it_allows(self, gateways):
        client = await gateways(imaging={"profile": "lossless", "profiles": "original,lossless"})
        data = images.jpeg(images.photo((320, 240)))
        image = (await client.post("/images", content=data)).json()
        assert image["profile"] == "lossless"
        refused = await client.post("/images?profile=small", content=data)
        detail = problem(refused, 422, "invalid-parameter")["detail"]
        assert "'small' is not allowed here; allowed: original, lossless" in detail

    @pytest.mark.parametrize("make", [images.heic, images.avif, images.tiff, images.bmp])
    async def test_what_phones_and_scanners_send_comes_back_as_what_browsers_show(
        self, client, make
    ):
        data = make(images.photo((320, 240)))
        image = (await client.post("/images", files={"file": ("IMG_1.TIF", data)})).json()
        served = await client.get(image["url"])
        assert served.headers["content-type"] == image["content_type"]
        assert image["content_type"] in {"image/jpeg", "image/avif"}
        assert images.pixels(served.content).size == (320, 240)
        extension = image["content_type"].removeprefix("image/").replace("jpeg", "jpg")
        assert f'filename="IMG_1.{extension}"' in served.headers["content-disposition"]

    @pytest.mark.parametrize(
        ("limit", "value"), [("max_pixels", 9_999), ("max_side", 99), ("max_frames", 2)]
    )
    async def test_an_image_beyond_a_limit(self, gateways, limit, value):
        client = await gateways(imaging={"workers": 1, limit: value})
        data = images.animated("GIF", count=3, size=(100, 100))
        problem(await client.post("/images", content=data), 422, "image-limit-exceeded")

    async def test_an_upload_over_the_byte_budget_is_told_to_come_back(self, gateways):
        client = await gateways(upload={"budget_bytes": 1_000_000, "patience_seconds": 0})
        data, begun, rest = images.jpeg(), asyncio.Event(), asyncio.Event()

        async def slowly():
            yield data[:10]
            begun.set()
            await rest.wait()
            yield data[10:]

        slow = asyncio.create_task(client.post("/images", content=slowly()))
        await begun.wait()
        response = await client.post("/images", content=data)
        assert problem(response, 503, "overloaded")["retryable"] is True
        assert int(response.headers["retry-after"]) > 0
        rest.set()
        assert (await slow).status_code == 201
        assert (await client.post("/images", content=data)).status_code == 201
