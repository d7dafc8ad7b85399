"""The parts of the benchmarks that nothing else runs."""

import httpx

from bench.memory_server import memory_server


def test_the_server_with_nothing_behind_it_is_the_gateways():
    with memory_server() as server, httpx.Client(base_url=url_of(server)) as client:
        assert len(client.get("/100000").content) == 100_000
        assert client.post("/images", content=b"image").status_code == 201
        # Only the gateway's protocol says it so.
        refusal = client.get("/1", headers={"A": "a" * 100_000})
        assert refusal.headers["content-type"] == "application/problem+json"


def url_of(server):
    host, port = server.address
    return f"http://{host}:{port}"
