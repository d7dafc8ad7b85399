"""A gateway without its codec: what is left is everything else that an upload costs.

python -c "from bench import no_codec; no_codec.install(); …serve…"
"""

from app.imaging.develop import Developed
from app.ingest import Ingest


def install():
    """Have this process's gateway keep every image as it came, and give its workers nothing."""
    Ingest._develop = _keep


async def _keep(ingest, source, upload):  # noqa: ARG001 - as `Ingest._develop`
    return Developed(upload.data, "image/jpeg", 1, 1, 1, "original", kept=True, codec="original")
