"""The form of an upload: one part named `file`, and options as fields.

Hides which parts mean what, and how large each may be. File names and declared types of parts
decide nothing.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from app.api.digests import GivenDigests
from app.api.multipart import MultipartBody, Part, PartEnd
from app.errors import BodyTooLargeError, MissingFileError, TooManyFilesError
from app.imaging.names import HARMFUL, MAX_FILENAME_CHARACTERS

if TYPE_CHECKING:
    from app.api.options import Options
    from app.ingest.upload import Upload

# An option has some ten; fields of other programs may be longer.
MAX_FIELD_BYTES = 65_536
# What browsers call a Blob without a name (XMLHttpRequest standard, FormData.append).
_NAMELESS = {"", "blob"}


class UploadForm:
    """A push parser that keeps the part `file` and applies the options.

    Raises:
        BadRequestError: The boundary is missing or too long.
    """

    def __init__(self, boundary: bytes, max_file_bytes: int, options: Options) -> None:
        self._body = MultipartBody(boundary)
        self._max_file_bytes = max_file_bytes
        self._options = options
        self._part = Part("", None)
        self._content: list[bytes] = []
        self._content_bytes = 0
        self._file: list[bytes] | None = None
        self._filename: str | None = None
        self._digests = GivenDigests({})

    def write(self, piece: bytes) -> None:
        """Parse a piece of the body.

        Raises:
            BadRequestError: The body is malformed.
            BodyTooLargeError, TooManyFilesError, MissingFileError, InvalidParameterError,
                InvalidDigestError, UploadAlteredError: See the classes.
        """
        for event in self._body.parse(piece):
            match event:
                case bytes():
                    self._add(event)
                case Part():
                    self._begin(event)
                case PartEnd():
                    self._end()

    def finish(self) -> Upload:
        """Return the file.

        Raises:
            BadRequestError: The body is cut off.
            MissingFileError: There was no part named `file`.
        """
        self._body.finish()
        if self._file is None:
            raise MissingFileError("The form has no part named file.")
        return self._options.upload(b"".join(self._file), self._filename)

    def _begin(self, part: Part) -> None:
        if part.name == "file" and self._file is not None:
            raise TooManyFilesError(
                "The form has more than one part named file: send one file per request."
            )
        self._part, self._content, self._content_bytes = part, [], 0
        self._digests = digests_of(part)

    def _add(self, data: bytes) -> None:
        self._content_bytes += len(data)
        if self._part.name == "file" and self._content_bytes > self._max_file_bytes:
            raise BodyTooLargeError(f"An upload may have at most {self._max_file_bytes:,} bytes.")
        if self._part.name != "file" and self._content_bytes > MAX_FIELD_BYTES:
            raise MissingFileError(
                f"The part {self._part.name[:50]!r} has over {MAX_FIELD_BYTES:,} bytes: send the"
                " image as a part named file, and nothing else as large."
            )
        self._digests.update(data)
        self._content.append(data)

    def _end(self) -> None:
        self._digests.verify()
        if self._part.name == "file":
            self._file = self._content
            self._filename = clean_filename(self._part.filename or "")
        else:
            value = b"".join(self._content).decode("utf-8", "replace")
            self._options.choose(self._part.name, value)


def digests_of(part: Part) -> GivenDigests:
    """Return the digests that a part gives of its content.

    Raises:
        InvalidDigestError: One cannot be read.
    """
    names = dict(part.digests)
    # Several of one name are one list.
    return GivenDigests(
        {name: ", ".join(value for each, value in part.digests if each == name) for name in names}
    )


def clean_filename(claimed: str) -> str | None:
    """Return the last component of a client's file name, or None if nothing is left of it."""
    text = unicodedata.normalize("NFC", claimed)
    text = HARMFUL.sub("", text.replace("\\", "/").rpartition("/")[2]).strip(" .")
    return None if text in _NAMELESS else text[-MAX_FILENAME_CHARACTERS:]
