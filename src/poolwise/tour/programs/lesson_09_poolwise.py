"""Images downloaded one by one."""

import sys
import time
import urllib.request
from pathlib import Path

import poolwise


def download(url: str) -> int:
    name = url.rpartition("/")[2]
    print(f"{name} starts\n", end="")
    with urllib.request.urlopen(url) as reply:
        size = Path(name).write_bytes(reply.read())
    print(f"{name} ends\n", end="")
    return size


urls = Path(sys.argv[1]).read_text().split()  # a file with one URL a line
began = time.perf_counter()
with poolwise.run(download, urls, shape="serial") as run:
    size = sum(outcome.unwrap() for outcome in run)
print(f"all: {time.perf_counter() - began:.3f} s")
print(f"bytes: {size} bytes")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
