"""delay_proxy.py PORT SERVER_PORT MILLISECONDS: a TCP relay on loopback that adds a delay to each round trip.

What the server says is held back for that long, in order and without bounding the rate, as by a longer line.
Prints "ready" once it listens; ends with SIGTERM.
"""

import asyncio
import sys


async def pump(reader, writer, delay):
    """Everything that comes goes on `delay` seconds later."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue(maxsize=4096)

    async def send():
        while True:
            due, data = await queue.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()

    sender = asyncio.create_task(send())
    try:
        while not sender.done():
            data = await reader.read(65536)
            await queue.put((loop.time() + delay, data))
            if not data:
                break
        await sender
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        sender.cancel()
        writer.close()


async def main(port, server_port, delay):
    async def serve(reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, server_writer, 0), pump(server_reader, writer, delay))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
    except KeyboardInterrupt:
        pass
