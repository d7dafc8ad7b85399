"""Text and drawings in colour: what lies next to each other is not mixed."""

import pytest
from PIL import Image, ImageDraw

from app.imaging.codecs import score
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop
from tests.support.pages import SIZE, screenshot, text

# What `balanced` promises for every file.
FLOOR = 75


PAGES = {
    "red on white": lambda: text("red"),
    "green on black": lambda: text((0, 255, 0), "black"),
    "blue on grey": lambda: text((0, 0, 200), (200, 200, 200)),
    "a screenshot with a photo": screenshot,
    "a red line in a photo": lambda: text("red", picture=images.photo(SIZE, noise=8)),
}


def jpeg(page, quality=95, subsampling="4:4:4"):
    return images.saved(page, "JPEG", quality=quality, subsampling=subsampling)


def likeness(data, stored):
    return score.score(images.pixels(data), images.pixels(stored.data), 1024)


def sampling(data):
    """The sampling factors of the first component, from the frame header (ITU-T T.81, B.2.2)."""
    start = next(
        data.index(bytes((0xFF, kind))) for kind in (0xC0, 0xC2) if bytes((0xFF, kind)) in data
    )
    return data[start + 11]


@pytest.mark.parametrize("name", PAGES)
class TestBalanced:
    @pytest.mark.parametrize("quality", [86, 95, 98])
    def test_a_jpeg_stays_sharp(self, name, quality):
        data = jpeg(PAGES[name](), quality)
        stored = develop(data)
        assert likeness(data, stored) >= FLOOR
        assert sampling(stored.data) == 0x11
        assert stored.info.codec == ("jpeg q95 4:4:4" if quality > 95 else "original")
        assert len(stored.data) <= len(data)

    @pytest.mark.parametrize("make", [images.bmp, images.tiff], ids=["BMP", "TIFF"])
    def test_a_scan_becomes_a_png(self, name, make):
        page = PAGES[name]()
        stored = develop(make(page))
        assert stored.info.content_type == "image/png"
        assert images.same_pixels(page, images.pixels(stored.data))

    def test_a_heic_becomes_a_sharp_jpeg(self, name):
        data = images.heic(PAGES[name](), quality=90, chroma=444)
        stored = develop(data)
        assert stored.info.content_type in {"image/jpeg", "image/png"}
        assert likeness(data, stored) >= FLOOR


class TestSmall:
    @pytest.mark.parametrize("name", PAGES)
    def test_a_jpeg_keeps_the_colour_of_each_pixel(self, name):
        stored = develop(jpeg(PAGES[name]()), profile=Profile.SMALL)
        assert stored.info.codec == "jpeg q85 4:4:4"
        assert sampling(stored.data) == 0x11

    def test_a_scan_becomes_whatever_is_smaller(self):
        drawn, noisy = images.bmp(text("red")), images.photo(SIZE, noise=60)
        drawn_in_noise = images.bmp(text("red", picture=noisy))
        stored = [develop(data, profile=Profile.SMALL) for data in (drawn, drawn_in_noise)]
        assert [each.info.content_type for each in stored] == ["image/png", "image/jpeg"]

    def test_an_avif_does_too(self):
        stored = develop(jpeg(screenshot()), profile=Profile.SMALL, avif=True)
        assert stored.info.codec.endswith("4:4:4")
        before = images.pixels(jpeg(screenshot()))
        assert score.score(before, images.pixels(stored.data), 1024) > 60


class TestPhotos:
    """What has no sharp colours is encoded as before."""

    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
    def test_a_photo_is_encoded_by_jpegli(self, subsampling):
        stored = develop(jpeg(images.photo(SIZE, noise=12), subsampling=subsampling))
        assert stored.info.codec == "jpegli q85"

    @pytest.mark.parametrize("colour", ["black", (90, 90, 90)])
    def test_so_is_text_without_colour(self, colour):
        data = jpeg(text(colour))
        stored = develop(data)
        assert stored.info.codec == "jpegli q85"
        assert likeness(data, stored) >= FLOOR

    @pytest.mark.parametrize("ground", ["white", "black", (60, 60, 60)])
    def test_a_grey_page_of_text_is_legible(self, ground):
        page = text((200, 200, 200) if ground != "white" else "black", ground).convert("L")
        data = images.saved(page, "JPEG", quality=95)
        assert likeness(data, develop(data)) >= FLOOR

    @pytest.mark.parametrize("make", [images.heic, images.tiff], ids=["HEIC", "TIFF"])
    def test_a_photo_of_few_colours_is_a_photo(self, make):
        wall = Image.linear_gradient("L").resize((640, 480)).point(lambda value: 150 + value // 8)
        wall = Image.merge("RGB", (wall, wall.point(lambda value: value - 6), wall))
        assert wall.getcolors(4096)
        assert develop(make(wall)).info.codec == "jpegli q85"

    def test_a_chart_of_few_colours_is_not(self):
        chart = Image.new("RGB", SIZE, (235, 235, 235))
        ImageDraw.Draw(chart).rectangle((100, 60, 300, 200), outline=(190, 190, 190))
        assert develop(images.bmp(chart)).info.content_type == "image/png"

    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 3)])
    def test_the_smallest_pictures_have_an_answer(self, size):
        for make in (jpeg, images.bmp):
            stored = develop(make(Image.new("RGB", size, "red")))
            assert (stored.info.width, stored.info.height) == size

    def test_grey_is_not_encoded_at_the_cost_of_a_progressive_jpeg(self):
        data = images.saved(images.photo(SIZE, "L", noise=12), "JPEG", quality=95)
        stored = develop(data)
        assert (stored.info.codec, images.pixels(stored.data).mode) == ("jpeg q82", "L")
        assert likeness(data, stored) >= FLOOR
        assert len(stored.data) < 0.6 * len(data)


class TestHeic:
    """It grows where it is coarse: a client that accepts HEIC gets it as it is."""

    def test_it_stays_for_a_client_that_accepts_it(self):
        data = images.heic(images.photo(SIZE), quality=20)
        assert develop(data).info.content_type == "image/jpeg"
        stored = develop(data, heic=True)
        assert (stored.info.content_type, stored.info.codec) == ("image/heic", "original")

    def test_one_that_a_jpeg_beats_does_not(self):
        data = images.heic(images.photo(SIZE, noise=60), quality=98)
        stored = develop(data, heic=True)
        assert stored.info.content_type == "image/jpeg"
        assert len(stored.data) < len(data)
