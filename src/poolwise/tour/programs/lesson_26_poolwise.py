"""A coroutine function: its lanes are tasks of an event loop."""

import asyncio
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import poolwise


async def download(url: str) -> int:
    parts = urlsplit(url)
    name = url.rpartition("/")[2]
    print(f"{name} starts\n", end="")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=secure or None
    )
    path = f"{parts.path}?{parts.query}"
    request = f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
    writer.write(request.encode())
    reply = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    print(f"{name} ends\n", end="")
    return Path(name).write_bytes(reply.partition(b"\r\n\r\n")[2])


urls = Path(sys.argv[1]).read_text().split()
began = time.perf_counter()
with poolwise.run(download, urls, hint="io") as run:
    size = sum(outcome.unwrap() for outcome in run)
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"bytes: {size} bytes")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
