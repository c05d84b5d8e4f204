"""A web server with images for builds: it hears on several addresses of this machine, counts, and can be ill.

A path `/KIND/NAME` does what KIND says: `image` serves what is in `images`, `slow` does so after a while, `to`
redirects there, and any other kind does what it does at the hostile server; `ill-KIND` does that for as long as the
server is ill, and serves the image when it is well.
"""

import asyncio
import socket

from hostile_server import HostileServer, _send

# The first is for good images; each other one is for one kind of trouble, since trouble counts by host.
ADDRESSES = tuple(f"127.9.9.{number}" for number in range(20, 26))
NETWORKS = "127.0.0.0/8"


class ImageServer(HostileServer):
    """A context manager; the port can be chosen, so that a server may come back at the same place."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.port = port or free_port()
        self.images: dict[str, bytes] = {}
        self.is_ill = False
        self.canary_port = 9

    def url(self, host: str, path: str = "/image.jpg") -> str:
        """The address of a path at one of ADDRESSES, given by its number."""
        return f"http://{ADDRESSES[int(host)]}:{self.port}{path}"

    def asked(self) -> dict[str, int]:
        """Requests by path, those for robots.txt left out."""
        return {path.removeprefix("127"): hits for path, hits in self.hits.items() if not path.endswith("/robots.txt")}

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, list(ADDRESSES), self.port)
        self._started.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _behave(self, writer: asyncio.StreamWriter, kind: str, path: str) -> None:
        _, behaviour, name = path.split("/", 2)
        if behaviour == "to":
            _send(writer, b"", status="302 Found", headers=f"Location: /image/{name}\r\n")
        elif behaviour in ("image", "slow") or (behaviour.startswith("ill-") and not self.is_ill):
            await asyncio.sleep(0.3 if behaviour == "slow" else 0)
            _send(writer, self.images[name], headers="Content-Type: image/png\r\n")
        else:
            await super()._behave(writer, behaviour.removeprefix("ill-"), path)


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server((ADDRESSES[0], 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
