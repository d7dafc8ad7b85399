"""How densely the pixels of a picture lie, and so their shape.

Hides the units of the formats. A fax has 204 x 98 pixels an inch: without them it is squashed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

_INCH_IN_METRES = 0.0254
_INCH_IN_CENTIMETRES = 2.54
# The most that JFIF can say, and the unit that most programs assume where nothing is said.
_MOST, _USUAL = 65_535, 72

# Units of JFIF, which EXIF counts from 1.
_RATIO, _PER_INCH, _PER_CENTIMETRE = 0, 1, 2
_NEARLY = 0.02


@dataclass(frozen=True, slots=True)
class Resolution:
    """Pixels an inch, or only the ratio of both.

    Args:
        across: From left to right.
        down: From top to bottom.
        is_absolute: Whether these are pixels an inch.
    """

    across: float
    down: float
    is_absolute: bool

    @classmethod
    def of(cls, across: float, down: float, unit: int) -> Resolution | None:
        """Return what a file says in a unit of JFIF; None where that is nothing.

        Args:
            across: From left to right.
            down: From top to bottom.
            unit: 0 for a ratio, 1 for pixels an inch, 2 for pixels a centimetre.
        """
        if unit not in {_RATIO, _PER_INCH, _PER_CENTIMETRE} or not across or not down:
            return None
        factor = _INCH_IN_CENTIMETRES if unit == _PER_CENTIMETRE else 1
        across, down = across * factor, down * factor
        sound = all(1 <= each <= _MOST for each in (across, down)) or unit == _RATIO
        if not sound or (unit == _RATIO and across == down):
            return None
        return cls(across, down, unit != _RATIO)

    @classmethod
    def of_metres(cls, across: int, down: int, *, is_absolute: bool) -> Resolution | None:
        """Return what a PNG or BMP says in pixels a metre; None where that is nothing."""
        if not is_absolute:
            return cls.of(across, down, _RATIO)
        return cls.of(across * _INCH_IN_METRES, down * _INCH_IN_METRES, _PER_INCH)

    @property
    def is_usual(self) -> bool:
        """Whether it is what programs assume anyway: 72, or 2,835 a metre, which is a bit more."""
        return self.is_absolute and round(self.across) == round(self.down) == _USUAL

    def turned(self) -> Resolution:
        """Return the resolution of the picture after a quarter turn."""
        return Resolution(self.down, self.across, self.is_absolute)

    def in_jfif(self) -> bytes:
        """Return the unit and both densities as JFIF has them."""
        if not self.is_absolute:
            across, down = _ratio(self.across, self.down)
            return struct.pack(">BHH", _RATIO, across, down)
        inches = self.across, self.down
        metric = tuple(each / _INCH_IN_CENTIMETRES for each in inches)
        is_metric = _off(metric) < _NEARLY < _off(inches)
        unit, pair = (_PER_CENTIMETRE, metric) if is_metric else (_PER_INCH, inches)
        return struct.pack(">BHH", unit, *(max(round(each), 1) for each in pair))

    def in_phys(self) -> bytes:
        """Return the payload of a PNG's `pHYs`."""
        if not self.is_absolute:
            return struct.pack(">IIB", *_ratio(self.across, self.down), 0)
        metres = (round(each / _INCH_IN_METRES) for each in (self.across, self.down))
        return struct.pack(">IIB", *metres, 1)

    def in_exif(self, order: str) -> tuple[bytes, bytes, int]:
        """Return both as rational numbers, and the unit, as EXIF of this byte order has them."""
        given = (self.across, self.down)
        both = given if self.is_absolute else _ratio(*given)
        parts = (Fraction(each).limit_denominator(10_000) for each in both)
        across, down = (
            struct.pack(f"{order}II", each.numerator, each.denominator) for each in parts
        )
        return across, down, 1 + (_PER_INCH if self.is_absolute else _RATIO)


def _ratio(across: float, down: float) -> tuple[int, int]:
    """Return the ratio in small whole numbers."""
    ratio = (Fraction(across) / Fraction(down)).limit_denominator(1000)
    return max(min(ratio.numerator, _MOST), 1), ratio.denominator


def _off(values: tuple[float, ...]) -> float:
    return max(abs(each - round(each)) for each in values)
