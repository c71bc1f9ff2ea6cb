"""What one request costs the client in CPU, for the HTTP libraries that the fetch job could stand on.

    python benchmarks/http_clients.py [--requests N] [--repeats N]

nginx on loopback serves JPEGs of about 80 KB; 32 connections are kept alive. Every run is a fresh interpreter: 300
requests to warm up, then the measured ones; the figure is its own CPU time, user and system, by the request, with the
body read and dropped. Medians of the repeats, which go round the libraries in turn.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec

from _nginx import nginx
from _paired import BrokenRun, run_python

CONNECTIONS = 32
WARM_UP = 300
CHUNK = 65_536


def urllib3_threads(urls: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import urllib3

    pool = urllib3.PoolManager(maxsize=CONNECTIONS, block=True)

    def one(url: str) -> None:
        response = pool.request("GET", url, preload_content=False, redirect=False, retries=False)
        while response.read(CHUNK):
            pass
        response.release_conn()

    with ThreadPoolExecutor(CONNECTIONS) as lanes:
        list(lanes.map(one, urls))


def pycurl_threads(urls: list[str]) -> None:
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import pycurl

    own = threading.local()

    def one(url: str) -> None:
        if not hasattr(own, "curl"):
            own.curl = pycurl.Curl()
            own.curl.setopt(pycurl.WRITEFUNCTION, len)
            own.curl.setopt(pycurl.NOSIGNAL, 1)
        own.curl.setopt(pycurl.URL, url)
        own.curl.perform()

    with ThreadPoolExecutor(CONNECTIONS) as lanes:
        list(lanes.map(one, urls))


def pycurl_multi(urls: list[str]) -> None:
    import pycurl

    multi, waiting, running = pycurl.CurlMulti(), urls[::-1], 0
    free = []
    for _ in range(CONNECTIONS):
        curl = pycurl.Curl()
        curl.setopt(pycurl.WRITEFUNCTION, len)
        free.append(curl)
    while waiting or running:
        while free and waiting:
            curl = free.pop()
            curl.setopt(pycurl.URL, waiting.pop())
            multi.add_handle(curl)
            running += 1
        while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        _, done, failed = multi.info_read()
        assert not failed
        for curl in done:
            multi.remove_handle(curl)
            free.append(curl)
            running -= 1
        if not done:
            multi.select(1.0)


def aiohttp_loop(urls: list[str]) -> None:
    import asyncio

    import aiohttp

    async def all_of_them() -> None:
        waiting = iter(urls)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

            async def lane() -> None:
                for url in waiting:
                    async with session.get(url) as response:
                        async for _ in response.content.iter_chunked(CHUNK):
                            pass

            await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))

    asyncio.run(all_of_them())


CLIENTS: dict[str, tuple[str, Callable[[list[str]], None]]] = {
    "urllib3, threads": ("urllib3", urllib3_threads),
    "pycurl, threads": ("pycurl", pycurl_threads),
    "pycurl, multi": ("pycurl", pycurl_multi),
    "aiohttp": ("aiohttp", aiohttp_loop),
}


def measure(name: str, base: str, requests: int) -> None:
    """Run one client in this process, and print CPU and wall seconds."""
    client = CLIENTS[name][1]
    client([f"{base}/quick/{number % 100}.jpg" for number in range(WARM_UP)])
    usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    client([f"{base}/quick/{number % 100}.jpg" for number in range(requests)])
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime, wall]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments.requests)
        return
    figures: dict[str, list[tuple[float, float]]] = defaultdict(list)
    try:
        with nginx(100) as server:
            for _ in range(arguments.repeats):
                for name, (module, _) in CLIENTS.items():
                    if find_spec(module) is not None:
                        command = [__file__, "--requests", str(arguments.requests), "--measure", name, server.base]
                        figures[name].append(tuple(json.loads(run_python(command).stdout)))
    except BrokenRun as error:
        sys.exit(f"error: {error}")
    for name, runs in figures.items():
        cpu = statistics.median(run[0] for run in runs) / arguments.requests * 1e6
        wall = statistics.median(run[1] for run in runs) / arguments.requests * 1e6
        print(f"{name:18} {cpu:6.0f} us of CPU a request, {wall:6.0f} us of wall time")


if __name__ == "__main__":
    main()
