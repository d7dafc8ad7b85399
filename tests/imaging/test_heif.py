"""HEIF and AVIF that are kept: the parts of the picture are copied, and nothing else."""

import io
import struct

import pillow_heif
import pytest
from PIL import Image

from app.errors import ImageLimitError, InvalidImageError
from app.imaging.containers import heif
from app.imaging.containers.isobmff import boxes, children
from app.imaging.containers.isobmff import items as items_of
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import LIMITS, develop

SECRET = b"SECRET-ELSEWHERE"


def box(kind, content):
    return struct.pack(">I4s", len(content) + 8, kind) + content


def items(data, meta):
    return items_of(data, meta, sharing=frozenset())


def meta_of(data):
    return next(each for each in boxes(data, 0, len(data)) if each.kind == b"meta")


def in_meta(data, inserted):
    """Return a file with another box at the end of `meta`; the rest moves along with `iloc`."""
    meta = meta_of(data)
    size = meta.end - meta.start + len(inserted)
    moved = data[: meta.start] + struct.pack(">I", size) + data[meta.start + 4 : meta.end]
    moved = bytearray(moved + inserted + data[meta.end :])
    iloc = children(data, meta)[b"iloc"]
    assert data[iloc.body : iloc.body + 2] in {b"\0\0", b"\1\0"}
    for item in items(data, meta):
        for start, _ in item.extents:
            place = moved.index(struct.pack(">I", start), iloc.body, iloc.end)
            struct.pack_into(">I", moved, place, start + len(inserted))
    return bytes(moved)


def collection(*pictures, primary=0):
    file = pillow_heif.HeifFile()
    for picture in pictures:
        file.add_from_pillow(picture)
    output = io.BytesIO()
    file.save(output, primary_index=primary, quality=40)
    return output.getvalue()


@pytest.mark.parametrize("make", [images.heic, images.avif])
class TestWhatIsNotThePicture:
    @pytest.mark.parametrize("kind", [b"xml ", b"uuid", b"free", b"bxml"])
    def test_boxes_beside_the_description_go(self, make, kind):
        data = in_meta(make(images.photo((320, 240))), box(kind, bytes(4) + SECRET))
        stored = develop(data, LIMITS, Profile.ORIGINAL)
        assert SECRET not in stored.data
        assert "other" in stored.info.metadata_removed
        assert images.same_pixels(images.pixels(data), images.pixels(stored.data))

    def test_boxes_beside_the_picture_go(self, make):
        data = make(images.photo((320, 240))) + box(b"mpvd", SECRET)
        stored = develop(data, LIMITS, Profile.ORIGINAL)
        assert SECRET not in stored.data
        assert "other" in stored.info.metadata_removed

    def test_bytes_that_nothing_points_to_go(self, make):
        data = bytearray(make(images.photo((320, 240))) + SECRET)
        mdat = next(each for each in boxes(bytes(data), 0, len(data) - 16) if each.kind == b"mdat")
        struct.pack_into(">I", data, mdat.start, len(data) - mdat.start)
        stored = develop(bytes(data), LIMITS, Profile.ORIGINAL)
        assert SECRET not in stored.data
        assert images.same_pixels(images.pixels(bytes(data)), images.pixels(stored.data))

    def test_an_item_of_no_known_kind_goes(self, make):
        data = make(images.photo((320, 240)))
        exif = next(each for each in items(data, meta_of(data)) if each.kind == b"Exif")
        place = data.index(b"Exif", exif.entry.body)
        data = data[:place] + b"abcd" + data[place + 4 :]
        stored = develop(data, LIMITS, Profile.ORIGINAL)
        assert b"SECRET" not in stored.data
        assert "other" in stored.info.metadata_removed


def test_metadata_that_reaches_into_the_picture_is_not_written_over_it():
    data = images.avif(images.photo((320, 240)))
    meta = meta_of(data)
    found = {each.kind: each.extents for each in items(data, meta)}
    [(start, end)], [(picture, _)] = found[b"Exif"], found[b"av01"]
    assert end <= picture
    iloc = children(data, meta)[b"iloc"]
    place = data.index(struct.pack(">II", start, end - start), iloc.body, iloc.end)
    data = data[: place + 4] + struct.pack(">I", picture + 500 - start) + data[place + 8 :]
    large = b"MM\0*" + data[start + 8 : end] + bytes(picture - end + 100)
    data = data[: start + 4] + large[: picture - start - 4] + data[picture:]
    for option in (MetadataOption.STRIP, MetadataOption.STRIP_GPS):
        stored = develop(data, LIMITS, Profile.ORIGINAL, metadata=option)
        with Image.open(io.BytesIO(stored.data)) as image:
            image.load()
            assert images.distance(image, images.photo((320, 240))) < 8


class TestThumbnails:
    @pytest.fixture
    def with_thumbnail(self):
        output = io.BytesIO()
        images.heic()  # registers HEIF
        images.photo((640, 480)).save(output, "HEIF", thumbnails=[160])
        return output.getvalue()

    def test_they_go_and_the_picture_stays(self, with_thumbnail):
        assert len(pillow_heif.open_heif(with_thumbnail).info["thumbnails"]) == 1
        stored = develop(with_thumbnail, LIMITS, Profile.ORIGINAL)
        assert stored.info.metadata_removed == ("thumbnail",)
        assert pillow_heif.open_heif(stored.data).info["thumbnails"] == []
        assert stored.info.frame_count == 1
        assert images.same_pixels(images.pixels(with_thumbnail), images.pixels(stored.data))

    def test_the_primary_picture_is_none_though_a_program_calls_it_one(self, with_thumbnail):
        at = with_thumbnail.index(b"thmb") + 4
        origin, one, target = (with_thumbnail[at + step : at + step + 2] for step in (0, 2, 4))
        assert one == b"\0\1"
        turned = with_thumbnail[:at] + target + one + origin + with_thumbnail[at + 6 :]
        for profile in (Profile.ORIGINAL, Profile.BALANCED):
            stored = develop(turned, LIMITS, profile)
            usual = develop(with_thumbnail, LIMITS, profile)
            assert images.same_pixels(images.pixels(stored.data), images.pixels(usual.data))
            assert stored.info.metadata_removed == ("thumbnail",)

    def test_nothing_of_their_bytes_is_left(self, with_thumbnail):
        stored = develop(with_thumbnail, LIMITS, Profile.ORIGINAL).data
        before = {each.number: each for each in items(with_thumbnail, meta_of(with_thumbnail))}
        pictures = [each for each in before.values() if each.kind == b"hvc1"]
        assert len(pictures) == 2
        small = min(pictures, key=lambda each: each.extents[0][1] - each.extents[0][0])
        [[start, end]] = small.extents
        assert stored[start:end] == bytes(end - start)


class TestCollections:
    def test_all_pictures_count_against_the_limit_of_pixels(self):
        large = Image.new("RGB", (1200, 1000))
        data = collection(images.photo((64, 48)), large, large)
        with pytest.raises(ImageLimitError, match=r"2,403,072 pixels in 3 frame"):
            develop(data, ImageLimits(max_pixels=2_000_000))

    def test_a_later_picture_is_not_longer_than_a_side_may_be(self):
        data = collection(images.photo((64, 48)), Image.new("RGB", (1200, 64)))
        with pytest.raises(ImageLimitError, match="1200 x 64"):
            develop(data, ImageLimits(max_side=1000))

    def test_the_receipt_is_about_the_one_that_is_shown(self):
        data = collection(images.photo((64, 48)), images.photo((320, 240)), primary=1)
        stored = develop(data, LIMITS)
        assert (stored.info.width, stored.info.height, stored.info.frame_count) == (320, 240, 2)
        assert stored.info.kept


def with_locations(extents):
    """An AVIF of some hundred bytes whose only item has these extents."""
    infe = box(b"infe", b"\2\0\0\0\0\1\0\0Exif\0")
    iinf = box(b"iinf", bytes(4) + b"\0\1" + infe)
    iloc = box(b"iloc", bytes(4) + extents)
    return box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", bytes(4) + iinf + iloc)


class TestBounds:
    @pytest.mark.parametrize(
        "extents",
        [
            b"\0\0\0\1" + struct.pack(">HHH", 1, 0, 65_535),
            b"\x44\0\0\1" + struct.pack(">HHH", 1, 0, 65_535) + struct.pack(">II", 0, 500) * 65_535,
            b"\x44\0\0\1" + struct.pack(">HHH", 1, 0, 40_000) + struct.pack(">II", 0, 0) * 40_000,
        ],
        ids=["without sizes", "over each other", "empty"],
    )
    def test_parts_without_number_are_refused(self, extents):
        with pytest.raises(InvalidImageError, match="part"):
            heif.strip(with_locations(extents))


def test_an_avif_beyond_what_its_decoder_takes_is_too_large():
    data = images.avif()
    at = data.index(b"ispe") + 8
    large = data[:at] + struct.pack(">II", 17_000, 17_000) + data[at + 8 :]
    with pytest.raises(ImageLimitError, match="17000 x 17000"):
        develop(large, LIMITS)


def test_a_file_of_the_low_overhead_kind_is_named():
    data = box(b"ftyp", b"mif3\0\0\0\0avif") + box(b"mini", bytes(40))
    with pytest.raises(InvalidImageError, match="low-overhead"):
        develop(data, LIMITS)


def with_property(data, added):
    """Return an AVIF of one item with another property, which it is associated with."""
    meta = meta_of(data)
    iprp = children(data, meta)[b"iprp"]
    ipco, ipma = boxes(data, iprp.body, iprp.end)
    index = len(list(boxes(data, ipco.body, ipco.end))) + 1
    assert data[ipma.body : ipma.body + 4] == bytes(4)
    count_at = ipma.body + 4 + 4 + 2
    links = data[count_at + 1 : ipma.end] + bytes((0x80 | index,))
    new_ipco = box(b"ipco", data[ipco.body : ipco.end] + added)
    head = data[ipma.body : count_at] + bytes((data[count_at] + 1,))
    new_iprp = box(b"iprp", new_ipco + box(b"ipma", head + links))
    grown = in_meta(data, bytes(len(new_iprp) - (iprp.end - iprp.start)))
    end = meta.end - iprp.end
    rest = grown[meta.end + len(added) + 1 :]
    tail = data[iprp.end : iprp.end + end]
    return grown[: iprp.start] + new_iprp + tail + rest


def clap(*numbers):
    return box(b"clap", struct.pack(">IIIIiIiI", *numbers))


class TestAperture:
    """What an AVIF is cropped to is not shown, and not measured (clean aperture)."""

    @pytest.mark.parametrize("orientation", [1, 6])
    @pytest.mark.parametrize("profile", [Profile.ORIGINAL, Profile.SMALL])
    def test_the_part_that_is_shown_is_the_picture(self, orientation, profile):
        picture = images.photo((2400, 320))
        plain = images.avif(picture, orientation=orientation, private=False, icc=False)
        # 2,200 x 200, of which the centre is 40 to the left and 20 further down.
        data = with_property(plain, clap(2200, 1, 200, 1, -40, 1, 20, 1))
        stored = develop(data, LIMITS, profile)
        size = (2048, 186) if profile is Profile.SMALL else (2200, 200)
        shown = (stored.info.width, stored.info.height)
        assert shown == (size if orientation == 1 else size[::-1])
        if profile is Profile.ORIGINAL:
            assert b"clap" in stored.data
            return
        part = picture.crop((60, 80, 2260, 280))
        if orientation == 6:
            part = part.transpose(Image.Transpose.ROTATE_270)
        assert images.distance(images.pixels(stored.data), part.resize(shown)) < 12

    @pytest.mark.parametrize(
        "numbers",
        [
            (2200, 1, 200, 1, 900, 1, 0, 1),
            (2200, 0, 200, 1, 0, 1, 0, 1),
            (99, 2, 99, 1, 0, 1, 0, 1),
        ],
        ids=["outside", "nothing", "half a pixel"],
    )
    def test_one_that_cannot_be_is_ignored(self, numbers):
        plain = images.avif(images.photo((2400, 320)), private=False, icc=False)
        stored = develop(with_property(plain, clap(*numbers)), LIMITS, Profile.ORIGINAL)
        assert (stored.info.width, stored.info.height) == (2400, 320)


class TestApertureOfSequences:
    def test_what_is_shown_of_the_frames_is_measured(self):
        first, *rest = images.frames(4, size=(320, 240))
        options = {"save_all": True, "append_images": rest, "icc_profile": images.icc_profile()}
        data = images.saved(first, "AVIF", **options)
        # The profile in the description of the samples makes room for the aperture.
        at = data.index(b"colrprof", data.index(b"stsd")) - 4
        length = int.from_bytes(data[at : at + 4])
        room = box(b"free", bytes(length - 40 - 8))
        cropped = data[:at] + clap(300, 1, 200, 1, 0, 1, 10, 1) + room + data[at + length :]
        stored = develop(cropped, LIMITS)
        assert (stored.info.frame_count, stored.info.kept) == (4, True)
        assert b"clap" in stored.data
        assert (stored.info.width, stored.info.height) == (300, 200)
        whole = develop(data, LIMITS)
        assert (whole.info.width, whole.info.height) == (320, 240)


def pasp(across, down):
    return box(b"pasp", struct.pack(">II", across, down))


class TestPixelAspect:
    """Pixels that are no squares: twice as wide as high is half as dense across as down."""

    @pytest.mark.parametrize("turns", [0, 1, 2, 3])
    def test_a_jpeg_of_a_heic_says_it(self, turns):
        plain = images.heic(images.photo((320, 240)), private=False, icc=False)
        data = with_property(plain, pasp(2, 1))
        stored = develop(with_property(data, box(b"irot", bytes((turns,)))), LIMITS)
        assert stored.info.content_type == "image/jpeg"
        assert stored.info.width == (240 if turns % 2 else 320)
        expected = (2, 1) if turns % 2 else (1, 2)
        assert struct.unpack_from(">BHH", stored.data, 13) == (0, *expected)

    @pytest.mark.parametrize("orientation", [1, 6])
    def test_a_smaller_picture_of_an_avif_says_it(self, orientation):
        picture = images.photo((2400, 320))
        plain = images.avif(picture, orientation=orientation, private=False, icc=False)
        stored = develop(with_property(plain, pasp(2, 1)), LIMITS, Profile.SMALL)
        assert not stored.info.kept
        block = images.exif_of(stored.data)
        said = tuple(int(block[tag]) for tag in (0x0128, 0x011A, 0x011B))
        assert said == ((1, 1, 2) if orientation == 1 else (1, 2, 1))

    @pytest.mark.parametrize("numbers", [(0, 1), (1, 1)])
    def test_nothing_is_said_of_squares_and_of_nothing(self, numbers):
        plain = images.heic(images.photo((320, 240)), private=False, icc=False)
        stored = develop(with_property(plain, pasp(*numbers)), LIMITS)
        assert b"JFIF" not in stored.data

    def test_it_stays_where_the_file_is_kept(self):
        plain = images.heic(images.photo((320, 240)), private=False, icc=False)
        stored = develop(with_property(plain, pasp(2, 1)), LIMITS, Profile.ORIGINAL)
        assert pasp(2, 1) in stored.data


def sharing(kind, count):
    """A file of so many items of a kind, whose bytes are the same 400."""
    numbers = range(1, count + 1)
    entries = b"".join(
        box(b"infe", struct.pack(">IHH4sB", 2 << 24, number, 0, kind, 0)) for number in numbers
    )
    iinf = box(b"iinf", struct.pack(">IH", 0, count) + entries)
    head = box(b"ftyp", b"avif\0\0\0\0mif1")
    start = len(head) + 12 + len(iinf) + 8 + 8 + 14 * count + 8
    places = b"".join(struct.pack(">HHHII", number, 0, 1, start, 400) for number in numbers)
    iloc = box(b"iloc", struct.pack(">IHH", 0, 0x4400, count) + places)
    meta = box(b"meta", bytes(4) + iinf + iloc)
    return head + meta + box(b"mdat", b"x" * 400)


class TestSharedBytes:
    def test_equal_tiles_may_be_stored_once(self):
        data = sharing(b"av01", 1_000)
        assert heif.strip(data).data == data

    def test_other_items_may_not(self):
        with pytest.raises(InvalidImageError, match="too many parts"):
            heif.strip(sharing(b"mime", 1_000))
