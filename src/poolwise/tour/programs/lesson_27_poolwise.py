"""poolwise looks for the knee while the items run, and stays there."""

import sys
import time
import urllib.request
from pathlib import Path

import poolwise


def download(url: str) -> int:
    with urllib.request.urlopen(url) as reply:
        return len(reply.read())


urls = Path(sys.argv[1]).read_text().split()
began = time.perf_counter()
with poolwise.run(download, urls * 40, hint="io") as run:
    for outcome in run:
        outcome.unwrap()
seconds = time.perf_counter() - began
print(f"all: {seconds:.3f} s")
print(f"rate: {40 * len(urls) / seconds:.2f} /s")
print(f"shape: {run.plan.shape}")
print(f"verdict: {run.plan.explain().splitlines()[0]}")
