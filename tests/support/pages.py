"""Text and screenshots: drawings whose colours lie sharply next to each other."""

from PIL import Image, ImageDraw, ImageFont

from tests.support import images

SIZE = (480, 320)


def text(colour, ground="white", picture=None):
    """Draw a page of small text, or a line of it into a picture."""
    page = picture or Image.new("RGB", SIZE, ground)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for top in range(0, 15 if picture else page.height, 15):
        draw.text((4, top), "The quick brown fox jumps over the lazy dog 012 " * 3, colour, font)
    return page


def screenshot():
    """Draw a window with a photo in it, and coloured text."""
    page = text("red")
    page.paste(images.photo((240, 160), noise=8), (120, 80))
    return page
