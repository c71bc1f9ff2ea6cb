"""The same server asked by more and more threads."""

import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def download(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(url) as reply:
        reply.read()
    return time.perf_counter() - began


urls = Path(sys.argv[1]).read_text().split()
for lanes in (1, 2, 4, 8, 16, 32, 64):
    asked = [
        urls[number % len(urls)] for number in range(max(16, 4 * lanes))
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(lanes) as pool:
        waited = sum(pool.map(download, asked))
    seconds = time.perf_counter() - began
    print(f"{lanes} lanes: {len(asked) / seconds:.2f} /s")
    print(f"each on {lanes} lanes: {waited / len(asked):.4f} s")
