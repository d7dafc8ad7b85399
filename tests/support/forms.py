"""Forms written by hand, so that a test says the order of their parts and where they end."""

BOUNDARY = b"batch-boundary"
HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
END = b"--" + BOUNDARY + b"--\r\n"


def file(data, name="img.jpg", digest=""):
    """Return a part named `file`, with a header `Content-Digest` if there is one."""
    return _part(f'name="file"; filename="{name}"', data, digest)


def field(name, value, digest=""):
    """Return a part that is a field, with a header `Content-Digest` if there is one."""
    return _part(f'name="{name}"', value.encode(), digest)


def form(*parts):
    """Return a form of these parts, closed."""
    return b"".join(parts) + END


def _part(disposition, data, digest):
    more = f"Content-Digest: {digest}\r\n" if digest else ""
    head = f"\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode()
    return b"--" + BOUNDARY + head + data + b"\r\n"
