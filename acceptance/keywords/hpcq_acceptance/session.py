"""What all keywords of one suite share: the server, and a client of it."""

from hpcq.client import Client, Filter, Job

from .house import House


class Session:
    """One server, or none yet."""

    def __init__(self) -> None:
        self._house: House | None = None
        self._client: Client | None = None

    @property
    def house(self) -> House:
        """The server that we started."""
        assert self._house is not None, "no server: use the keyword Start Server first"
        return self._house

    @property
    def client(self) -> Client:
        """A connection to the server."""
        assert self._client is not None, "no server: use the keyword Start Server, or Use Server, first"
        return self._client

    async def connect(self, url: str, token: str | None = None) -> None:
        """Open the connection."""
        await self.disconnect()
        self._client = Client(url, token)
        await self._client.__aenter__()

    async def disconnect(self) -> None:
        """Close it."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)

    async def explained(self, job_id: str) -> str:
        """Why the job stands as it does, as the server says it; the end of its output, if it has any."""
        told = await self.client.explain(job_id)
        reasons = "; ".join(f"{reason['code']}: {reason['message']}" for reason in told["reasons"])
        printed = b"".join([chunk async for chunk in self.client.output(job_id)])[-500:]
        return f"explain: {reasons}" + (f"\noutput: {printed.decode(errors='replace')}" if printed else "")

    async def with_tag(self, tag: str) -> list[Job]:
        """The jobs that carry a tag `key:value`, the oldest first."""
        key, _, value = tag.partition(":")
        return [job async for job in self.client.jobs(Filter(tags={key: value}), oldest_first=True)]
