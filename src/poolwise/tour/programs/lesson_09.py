"""Images downloaded one by one."""

import sys
import time
import urllib.request
from pathlib import Path


def download(url: str) -> int:
    name = url.rpartition("/")[2]
    print(f"{name} starts\n", end="")
    with urllib.request.urlopen(url) as reply:
        size = Path(name).write_bytes(reply.read())
    print(f"{name} ends\n", end="")
    return size


urls = Path(sys.argv[1]).read_text().split()  # a file with one URL a line
began, cpu = time.perf_counter(), time.process_time()
size = sum(download(url) for url in urls)
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"cpu: {time.process_time() - cpu:.4f} s")
print(f"bytes: {size} bytes")
