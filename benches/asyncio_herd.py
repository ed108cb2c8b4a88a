"""One server of an asyncio herd: the baseline that `cargo bench --bench loopback` measures against.

    python3 asyncio_herd.py NAME (persistent|per-message)

Standard library only, in the shape the assignment leads to: streams, one coroutine a connection, a dict of clients. It
binds a free port and prints it, reads the ports of its neighbours from one line of standard input, connects to them, prints
`up` and serves until it is killed. A link's connection begins with `FROM name`, so that nothing is sent back where it came
from. `persistent` keeps one connection per link and direction; `per-message` opens one for every line it passes on.

Beside the assignment's commands it answers `LEARNED client` with the time at which it took the client's newest location, in
nanoseconds since 1970, which is how propagation is measured.
"""

import asyncio
import socket
import sys
import time

JSON = '{"html_attributions":[],"results":[],"status":"ZERO_RESULTS"}\n\n'


class Server:
    def __init__(self, name):
        self.name = name
        self.records = {}  # client: (time, AT line, learned at)
        self.links = []

    async def serve(self, reader, writer):
        sender = None
        try:
            while line := await reader.readline():
                text = line.decode()
                fields = text.split()
                if not fields:
                    continue
                if fields[0] == "FROM":
                    sender = fields[1]
                    continue
                reply = self.handle(text, fields, sender)
                if reply:
                    writer.write(reply.encode())
                    await writer.drain()
        except (ConnectionError, UnicodeDecodeError):
            pass
        finally:
            writer.close()

    def handle(self, text, fields, sender):
        try:
            if fields[0] == "IAMAT" and len(fields) == 4:
                return self.iamat(*fields[1:])
            if fields[0] == "AT" and len(fields) == 6:
                return self.store(fields[3], seconds(fields[5]), " ".join(fields) + "\n", sender)
            if fields[0] == "WHATSAT" and len(fields) == 4 and 0 <= int(fields[2]) <= 50 and 0 <= int(fields[3]) <= 20:
                return self.records[fields[1]][1] + JSON
            if fields[0] == "LEARNED" and len(fields) == 2:
                return f"LEARNED {self.records[fields[1]][2]}\n"
        except (KeyError, ValueError):
            pass
        return f"? {text}" if text.endswith("\n") else f"? {text}\n"

    def iamat(self, client, location, stated):
        stated_at = seconds(stated)
        latitude, longitude = split(location)
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            raise ValueError(location)
        skew = time.time_ns() - stated_at
        sign = "-" if skew < 0 else "+"
        skew = abs(skew)
        line = f"AT {self.name} {sign}{skew // 10**9}.{skew % 10**9:09} {client} {location} {stated}\n"
        self.store(client, stated_at, line, None)
        return line

    def store(self, client, stated_at, line, sender):
        known = self.records.get(client)
        if known is None or known[0] < stated_at:
            self.records[client] = (stated_at, line, time.time_ns())
            data = line.encode()
            for link in self.links:
                if link.name != sender:
                    link.send(data)


class PersistentLink:
    def __init__(self, server, name, port):
        self.server, self.name, self.port = server, name, port

    async def open(self):
        _, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(f"FROM {self.server.name}\n".encode())

    def send(self, data):
        self.writer.write(data)


class PerMessageLink:
    def __init__(self, server, name, port):
        self.server, self.name, self.port = server, name, port
        self.tasks = set()

    async def open(self):
        pass

    def send(self, data):
        task = asyncio.create_task(self.deliver(data))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def deliver(self, data):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(f"FROM {self.server.name}\n".encode() + data)
            await writer.drain()
            writer.close()
        except ConnectionError:
            pass


def seconds(text):
    """POSIX seconds as text, in whole nanoseconds."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0") or 0)


def split(location):
    """Latitude and longitude of an ISO 6709 location."""
    middle = max(location.rfind("+"), location.rfind("-"))
    return float(location[:middle]), float(location[middle:])


async def main(name, kind, listener):
    server = Server(name)
    await asyncio.start_server(server.serve, sock=listener, backlog=4096)
    neighbours = [neighbour.split(":") for neighbour in sys.stdin.readline().split()]
    server.links = [kind(server, neighbour, int(port)) for neighbour, port in neighbours]
    for link in server.links:
        await link.open()
    print("up", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    kinds = {"persistent": PersistentLink, "per-message": PerMessageLink}
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    asyncio.run(main(sys.argv[1], kinds[sys.argv[2]], listener))
