"""The live stream of pictures, as a plain client reads it."""


def first_picture(client, **parameters):
    """Return the newest picture of the live stream: its bytes."""
    with client.stream("GET", "/streams/images.mjpeg", params=parameters) as answer:
        assert answer.status_code == 200
        pieces, received = answer.iter_raw(), b""
        while b"\r\n\r\n" not in received:
            received += next(pieces)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.rpartition(b"Content-Length: ")[2].split()[0])
        while len(body) < length:
            body += next(pieces)
        return body[:length]
