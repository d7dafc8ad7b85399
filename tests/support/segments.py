"""Damage to the files of a broker."""


def damage(broker, topic, partition, needle):
    """Flip a bit of each occurrence of `needle` in the files of a partition; the broker is down."""
    found = 0
    for path in (broker.data_dir / "logs" / f"{topic}-{partition}").glob("*.log"):
        data = bytearray(path.read_bytes())
        at = data.find(needle)
        while at >= 0:
            data[at] ^= 1
            found += 1
            at = data.find(needle, at + 1)
        path.write_bytes(data)
    assert found, f"{needle!r} is not in {topic}-{partition}"
