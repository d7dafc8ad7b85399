"""Memory stays flat, however many clients read a large image and however slowly."""

import hashlib

from tests.support import images
from tests.support.raw_http import RawClient

READERS = 20
IMAGE_BYTES = 15_000_000
# A reader holds the head record and the chunk being sent, 1 MB each, and briefly the next one with
# the buffer that it is read from; 2.8 MB (Kafka) and 4.3 MB (embedded) were measured, with the
# memory that the allocator and SQLite hold. A reader with the whole image would be over 15 MB.
BOUND = READERS * IMAGE_BYTES // 2


def test_memory_is_flat_while_20_slow_readers_download_a_15_mb_image(new_gateway, log_settings):
    large = images.photo((2400, 2083), noise=255)
    data = images.png(large, compress_level=1, private=False)
    assert len(data) > IMAGE_BYTES
    # Without a cache every reader holds records of its own, which is the worst case.
    settings = log_settings | {"IMAGEGATE_DELIVERY__CACHE_BYTES": 0}
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        image = client.post("/images", content=data).json()
    # The upload has grown the process: a new one shows the cost of reading.
    gateway.terminate()
    gateway.start()
    before = peak = gateway.resident_bytes()

    readers = {RawClient(gateway, receive_buffer=16_384): hashlib.sha256() for _ in range(READERS)}
    lengths = dict.fromkeys(readers, 0)
    try:
        for reader in readers:
            reader.send_head("GET", image["url"])
        for reader in readers:
            assert reader.read_head()[0] == 200
        # All of them are in the middle of a body; then each reads a little in its turn.
        while lengths:
            for reader in list(lengths):
                piece = reader.read_some()
                readers[reader].update(piece)
                lengths[reader] += len(piece)
                if lengths[reader] == image["content_length"]:
                    del lengths[reader]
            peak = max(peak, gateway.resident_bytes())
    finally:
        for reader in readers:
            reader.socket.close()
    assert {f"sha256:{digest.hexdigest()}" for digest in readers.values()} == {image["digest"]}
    print(f"resident memory grew by {(peak - before) / 1e6:.1f} MB")  # noqa: T201
    assert peak - before < BOUND
    assert gateway.mistakes() == []
