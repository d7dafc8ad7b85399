"""A reader of the event stream that always reconnects."""

import asyncio
import json

import httpx


class StreamReader:
    """Follows the facts as an EventSource in a browser does, resuming where it was cut off."""

    def __init__(self, gateway):
        self.facts = []
        self._url = gateway.url

    @property
    def last(self):
        """The sequence number of the last fact, -1 for none."""
        return self.facts[-1][0] if self.facts else -1

    async def follow(self):
        """Read for ever."""
        while True:
            try:
                async with httpx.AsyncClient(base_url=self._url, timeout=30) as client:
                    await self._read(client)
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)

    @property
    def shown(self):
        """The ids of the images that exist after the facts so far."""
        ids = {"image.stored": set(), "image.deleted": set()}
        for _, kind, image_id in self.facts:
            ids[kind].add(image_id)
        return ids["image.stored"] - ids["image.deleted"]

    def verify(self):
        """Check that each fact came once, in order."""
        sequences = [sequence for sequence, *_ in self.facts]
        assert sequences == sorted(set(sequences)), "facts out of order, or twice"
        facts = [fact[1:] for fact in self.facts]
        assert len(facts) == len(set(facts)), "a fact came twice"

    async def _read(self, client):
        headers = {"Last-Event-ID": str(self.last)}
        async with client.stream("GET", "/streams/images", headers=headers) as response:
            if response.status_code != 200:
                return
            event = {}
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    event[name] = value.strip()
                elif "id" in event and "data" in event:
                    subject = json.loads(event["data"])["id"]
                    self.facts.append((int(event["id"]), event["event"], subject))
                    event = {}
