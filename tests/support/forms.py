"""Forms written by hand, so that a test says the order of their parts and where they end."""

BOUNDARY = b"batch-boundary"
HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
END = b"--" + BOUNDARY + b"--\r\n"


def file(data, name="img.jpg"):
    """Return a part named `file`."""
    return _part(f'name="file"; filename="{name}"', data)


def field(name, value):
    """Return a part that is a field."""
    return _part(f'name="{name}"', value.encode())


def form(*parts):
    """Return a form of these parts, closed."""
    return b"".join(parts) + END


def _part(disposition, data):
    head = f"\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    return b"--" + BOUNDARY + head + data + b"\r\n"
