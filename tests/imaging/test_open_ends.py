"""Files without their end marker or with a wrong count: accepted where no picture is missing."""

import pytest
from PIL import Image

from app.errors import ImageRefusedError
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import LIMITS, develop
from tests.support.every_case import every_case

JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
    "restarts at each MCU": {"restart_marker_blocks": 1},
}


def original(data, **recipe):
    return develop(data, LIMITS, Profile.ORIGINAL, **recipe)


class TestJpeg:
    @pytest.mark.parametrize("name", JPEGS)
    @pytest.mark.parametrize("picture", ["photo", "flat"])
    def test_only_one_whose_picture_is_whole_is_accepted(self, name, picture):
        flat = Image.new("RGB", (96, 64), (10, 120, 200))
        image = images.photo() if picture == "photo" else flat
        whole = images.saved(image, "JPEG", **JPEGS[name])
        scan, accepted = whole.rindex(b"\xff\xda"), []
        for cut in (*range(scan, len(whole) - 40, 29), *range(len(whole) - 40, len(whole))):
            try:
                stored = original(whole[:cut])
            except ImageRefusedError:
                continue
            accepted.append(len(whole) - cut)
            assert images.same_pixels(images.pixels(stored.data), images.pixels(whole))
        assert accepted[-2:] == [2, 1]
        # Of the last bytes of a scan, some may hold nothing but fill bits or zeros.
        assert len(accepted) <= 4

    def test_it_is_stored_with_its_end_marker(self):
        whole = images.jpeg(private=False)
        stored = original(whole[:-2])
        assert stored.data == original(whole).data
        assert develop(whole[:-2], LIMITS).data == develop(whole, LIMITS).data

    def test_it_is_kept_as_it_came(self):
        data = images.jpeg()[:-2]
        assert original(data, metadata=MetadataOption.KEEP).data == data

    @pytest.mark.parametrize("scans", [1, 2, 3])
    def test_one_that_lacks_a_whole_scan_is_refused(self, scans):
        data = images.saved(images.photo(), "JPEG", progressive=True)
        for _ in range(scans):
            data = data[: data.rindex(b"\xff\xda")]
            data = data[: data.rindex(b"\xff\xc4")]
        with pytest.raises(ImageRefusedError, match="truncated"):
            original(data)

    def test_one_with_an_end_marker_after_too_little_is_as_before(self):
        data = images.saved(images.photo(), "JPEG")
        assert original(data[: len(data) // 2] + b"\xff\xd9").info.kept


class TestGif:
    @pytest.mark.parametrize("cut", [1, 2], ids=["no trailer", "no terminator"])
    def test_without_its_end_it_is_stored_with_it(self, cut):
        whole = images.animated("GIF", private=False)
        assert original(whole[:-cut]).data == original(whole).data

    def test_it_ends_where_a_byte_begins_no_block(self):
        whole = images.animated("GIF", private=False)
        last = whole.rindex(b"!\xf9")
        stored = original(whole[:last] + b"SECRET" + whole[last:])
        assert stored.info.frame_count == 3
        assert b"SECRET" not in stored.data
        assert images.frames_of(stored.data) == images.frames_of(whole)[:3]

    def test_one_without_a_frame_is_refused(self):
        whole = images.gif(private=False)
        for data in (whole[: whole.index(b",")], whole[: whole.index(b",")] + b"x"):
            with pytest.raises(ImageRefusedError):
                original(data)


def counted(data: bytes, count: int) -> bytes:
    at = data.index(b"acTL") - 4
    return (
        data[:at]
        + images.chunk(b"acTL", count.to_bytes(4) + data[at + 12 : at + 16])
        + data[at + 20 :]
    )


class TestApng:
    @pytest.mark.parametrize("count", [1, 3, 9])
    def test_one_that_miscounts_has_the_frames_that_are_there(self, count):
        whole = images.animated("PNG", private=False)
        stored = original(counted(whole, count))
        assert (stored.info.frame_count, stored.data) == (4, original(whole).data)

    def test_a_count_of_none_is_a_still_picture(self):
        whole = images.animated("PNG", private=False)
        stored = original(counted(whole, 0))
        assert stored.info.frame_count == 1
        assert not any(name in stored.data for name in (b"acTL", b"fcTL", b"fdAT"))
        assert images.same_pixels(images.pixels(stored.data), images.pixels(whole))

    def test_a_count_after_the_picture_is_none(self):
        still = images.png(private=False, icc=False)
        late = images.chunk(b"acTL", (1).to_bytes(4) + bytes(4))
        end = still.index(b"IEND") - 4
        assert original(still[:end] + late + still[end:]).data == still


def test_a_file_cut_short_at_99_percent_is_refused():
    big = images.photo((640, 480))
    files = {
        "JPEG": images.saved(big, "JPEG"),
        "GIF": images.saved(big.quantize(64), "GIF"),
        "PNG": images.saved(big, "PNG"),
    }
    with every_case() as case:
        for name, data in files.items():
            for share in (0.3, 0.6, 0.95, 0.99, 0.999):
                with case(f"{name} at {share}"), pytest.raises(ImageRefusedError):
                    original(data[: int(len(data) * share)])
