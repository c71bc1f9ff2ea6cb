"""The download on threads, and by coroutines in a single thread."""

import asyncio
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit


def fetch(url: str) -> int:
    with urllib.request.urlopen(url) as reply:
        return Path(url.rpartition("/")[2]).write_bytes(reply.read())


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
    head, _, body = reply.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise OSError(f"{url} was not found: {head[:40]!r}")
    return Path(name).write_bytes(body)


async def download_all(urls: list[str]) -> int:
    return sum(await asyncio.gather(*(download(url) for url in urls)))


urls = Path(sys.argv[1]).read_text().split()
began, cpu = time.perf_counter(), time.process_time()
with ThreadPoolExecutor(len(urls)) as pool:
    size = sum(pool.map(fetch, urls))
print(f"threads: {time.perf_counter() - began:.3f} s")
print(f"threads, cpu: {time.process_time() - cpu:.4f} s")
began, cpu = time.perf_counter(), time.process_time()
again = asyncio.run(download_all(urls))
print(f"coroutines: {time.perf_counter() - began:.3f} s")
print(f"coroutines, cpu: {time.process_time() - cpu:.4f} s")
print(f"bytes by threads: {size} bytes")
print(f"bytes by coroutines: {again} bytes")
