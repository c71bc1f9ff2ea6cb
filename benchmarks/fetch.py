"""The fetch job beside other downloaders, and against servers that want to be treated with care.

    python benchmarks/fetch.py [--only ROW,...] [--blocks N] [--quick] [--folder DIR]

nginx on loopback, started here, serves JPEGs of about 80 KB; latency is in the server. Peers that are not installed are
left out. The two sides of a row take turns A B B A, each in a fresh process and a new folder; a row shows medians, and
the median ratio of their times (peer over poolwise: above 1, poolwise is quicker). Folders are made where temporary
files are, or where --folder says (/dev/shm: in memory). Files are emptied after each side, but removed only when all is
over: ext4 without a journal passes over inodes that were removed in the last minutes, which costs whoever makes a file
then most of the time. For the same reason, wait five minutes between two runs there.

    few        15 files, 50 ms: a library call, imports done; beside requests one by one, requests in the default
               ThreadPoolExecutor, and `pycurl, alone`; and over the floor of one round. Goals: 10, 2.2; at most 1.4
               times the floor
    latency    2,000 files, 50 ms: whole processes at default options, beside `aria2c -j128` (goal 2.8),
               `curl -Z --parallel-max 128` (1.4), img2dataset (3.5), wget2, a urllib3 pool of 128 threads (0.85);
               and pycurl on one thread that only hashes and stores, and in two processes of that: engine, checks and
               journal come on top
    quick      4,000 files, no latency: aria2c (goal 2.5), curl (0.9), img2dataset (3)
    slots      a server that serves 40 at a time in 100 ms each: files a second over its 400. Goal: 0.9
    bucket     a server that takes 400 a second, and answers 429 above: files a second over that (goal 0.9), refused
               requests after the first 500 (goal: under 3 %)
    memory     100,000 small files: peak resident memory. Goal: under 150 MB
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from _nginx import BUCKET_PER_SECOND, LATENCY_SECONDS, Server, make_photos, nginx
from _paired import BrokenRun, Spread, pairs_of, run_command, run_python

ROWS = ("few", "latency", "quick", "slots", "bucket", "memory")
SLOTS = 40
SLOT_SECONDS = 0.1
LIMIT_SECONDS = 900.0
POOLWISE = [sys.executable, "-m", "poolwise", "fetch"]


# -- one side, in a process of its own ---------------------------------------------------------------------------------


def fetch_here(urls: list[str], folder: str) -> None:
    from poolwise.jobs.fetch import fetch

    with fetch(urls, folder, allow_private=True) as run:
        assert all(outcome.ok for outcome in run)


def requests_one_by_one(urls: list[str], folder: str) -> None:
    import requests

    for url in urls:
        Path(folder, url.rpartition("/")[2]).write_bytes(requests.get(url).content)


def requests_in_a_pool(urls: list[str], folder: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda url: requests_one_by_one([url], folder), urls))


def urllib3_in_a_pool(urls: list[str], folder: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import urllib3

    manager = urllib3.PoolManager(maxsize=128, block=True)

    def one(url: str) -> None:
        response = manager.request("GET", url, preload_content=False, retries=False)
        with open(os.path.join(folder, url.rpartition("/")[2]), "wb") as file:
            shutil.copyfileobj(response, file, 65_536)
        response.release_conn()

    with ThreadPoolExecutor(128) as pool:
        list(pool.map(one, urls))


def pycurl_alone(urls: list[str], folder: str) -> None:
    """Keep what comes on 128 connections, with its SHA-256; no engine, no checks, no names, no journal."""
    import hashlib
    from io import BytesIO

    import pycurl

    multi, waiting, running = pycurl.CurlMulti(), urls[::-1], 0
    free = [pycurl.Curl() for _ in range(128)]
    bodies: dict[pycurl.Curl, tuple[str, BytesIO]] = {}
    hashes = {}
    while waiting or running:
        while free and waiting:
            curl, url = free.pop(), waiting.pop()
            bodies[curl] = (url, BytesIO())
            curl.setopt(pycurl.URL, url)
            curl.setopt(pycurl.WRITEDATA, bodies[curl][1])
            multi.add_handle(curl)
            running += 1
        multi.perform()
        _, fine, failed = multi.info_read(running)
        assert not failed
        for curl in fine:
            multi.remove_handle(curl)
            url, body = bodies.pop(curl)
            hashes[url] = hashlib.sha256(body.getbuffer()).hexdigest()
            with open(os.path.join(folder, url.rpartition("/")[2]), "wb", buffering=0) as file:
                file.write(body.getbuffer())
            free.append(curl)
            running -= 1
        if running:
            multi.select(1.0)


def pycurl_in_two(urls: list[str], folder: str) -> None:
    """Do the same in two processes, each with every second URL."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        list(pool.map(pycurl_alone, [urls[::2], urls[1::2]], [folder] * 2))


CALLS: dict[str, tuple[str, Callable[[list[str], str], None]]] = {
    "poolwise": ("poolwise.jobs.fetch.transport", fetch_here),
    "requests, serial": ("requests", requests_one_by_one),
    "requests, pool": ("requests", requests_in_a_pool),
    "urllib3, 128": ("urllib3", urllib3_in_a_pool),
    "pycurl, alone": ("pycurl", pycurl_alone),
    "pycurl, in two": ("pycurl", pycurl_in_two),
}


def call(name: str, listing: str, folder: str) -> None:
    """Run one side in this process, and print the seconds of the call itself."""
    module, function = CALLS[name]
    __import__(module)
    urls = Path(listing).read_text().split()
    began = time.perf_counter()
    function(urls, folder)
    print(json.dumps(time.perf_counter() - began))


# -- peers -------------------------------------------------------------------------------------------------------------


def command_of(peer: str, listing: Path, folder: Path) -> list[str] | None:
    """Return the command of a peer; None where it is not installed."""
    if peer == "poolwise":
        return [*POOLWISE, str(listing), str(folder), "--allow-private"]
    if peer == "aria2c":
        words = ["-j128", "-i", str(listing), "-d", str(folder)]
        return ["aria2c", *words] if shutil.which("aria2c") else None
    if peer == "curl":
        config = listing.with_suffix(".curl")
        config.write_text("".join(f'url = "{url}"\nremote-name\n' for url in listing.read_text().split()))
        words = ["-Z", "--parallel-max", "128", "-s", "--output-dir", str(folder), "-K", str(config)]
        return ["curl", *words] if shutil.which("curl") else None
    if peer == "wget2":
        words = ["-q", "-i", str(listing), "-P", str(folder), "--max-threads=128"]
        return ["wget2", *words] if shutil.which("wget2") else None
    if peer == "img2dataset":
        words = ["--url_list", str(listing), "--output_folder", str(folder / "out"), "--processes_count", "2"]
        words += ["--thread_count", "128", "--resize_mode", "no", "--output_format", "files", "--enable_wandb", "False"]
        return ["img2dataset", *words] if shutil.which("img2dataset") else None
    module = CALLS[peer][0]
    return [sys.executable, __file__, "--call", peer, str(listing), str(folder)] if find_spec(module) else None


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, of which all files are emptied in the end."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)


def seconds_of(peer: str, urls: Sequence[str], count: int) -> float:
    """Run a peer over URLs in a new folder; check that all files came; return the seconds of the whole process."""
    with scratch() as folder:
        listing, out = folder / "urls.txt", folder / "out"
        out.mkdir()
        listing.write_text("\n".join(urls) + "\n")
        command = command_of(peer, listing, out)
        assert command is not None
        ended = run_command(command, limit_seconds=LIMIT_SECONDS)
        found = sum(1 for path in out.rglob("*.jpg"))
        if found != count:
            raise BrokenRun(f"{peer} left {found} files of {count}")
        return ended.seconds


def call_seconds(side: str, urls: Sequence[str]) -> float:
    """Run one side as a library call in a fresh process; return the seconds of the call."""
    with scratch() as folder:
        listing, out = folder / "urls.txt", folder / "out"
        out.mkdir()
        listing.write_text("\n".join(urls))
        return float(json.loads(run_python([__file__, "--call", side, str(listing), str(out)]).stdout))


def compare(row: str, peers: Sequence[tuple[str, float | None]], one: Callable[[str], float], blocks: int) -> None:
    """Measure poolwise beside each peer, in turn, and print a line for each."""
    for peer, goal in peers:
        probe = Path(tempfile.gettempdir(), "poolwise-bench-probe.txt")
        probe.write_text("")
        if command_of(peer, probe, probe.parent) is None:
            print(f"{row:8} {peer:18} is not installed")
            continue
        pairs = pairs_of(lambda: one("poolwise"), lambda peer=peer: one(peer), blocks)
        ratio = Spread.of([theirs / ours for ours, theirs in pairs])
        ours, theirs = (statistics.median(side) for side in zip(*pairs))
        wanted = "" if goal is None else f"   goal {goal:g}{'' if ratio.median >= goal else ': missed'}"
        print(f"{row:8} {peer:18} {theirs:7.3f} s, poolwise {ours:7.3f} s: {ratio.text('x')}{wanted}", flush=True)


# -- rows --------------------------------------------------------------------------------------------------------------


def few(server: Server, blocks: int, count: int = 15) -> None:
    urls = [f"{server.base}/slow/{number}.jpg" for number in range(count)]
    peers = [("requests, serial", 10.0), ("requests, pool", 2.2), ("pycurl, alone", None)]
    compare("few", peers, lambda side: call_seconds(side, urls), blocks)
    ours = statistics.median(call_seconds("poolwise", urls) for _ in range(2 * blocks + 1))
    over = ours / LATENCY_SECONDS
    print(
        f"few      over the floor of one round: {over:.2f}x   goal 1.4{'' if over <= 1.4 else ': missed'}", flush=True
    )


def latency(server: Server, blocks: int, count: int) -> None:
    urls = [f"{server.base}/slow/{number}.jpg" for number in range(count)]
    peers = [
        ("aria2c", 2.8),
        ("curl", 1.4),
        ("img2dataset", 3.5),
        ("wget2", None),
        ("urllib3, 128", 0.85),
        ("pycurl, alone", None),
        ("pycurl, in two", None),
    ]
    compare("latency", peers, lambda side: seconds_of(side, urls, count), blocks)


def quick(server: Server, blocks: int, count: int) -> None:
    urls = [f"{server.base}/quick/{number}.jpg" for number in range(count)]
    peers = [
        ("aria2c", 2.5),
        ("curl", 0.9),
        ("img2dataset", 3.0),
        ("wget2", None),
        ("urllib3, 128", None),
        ("pycurl, alone", None),
        ("pycurl, in two", None),
    ]
    compare("quick", peers, lambda side: seconds_of(side, urls, count), blocks)


def bucket(server: Server, count: int) -> None:
    server.log.write_text("")
    urls = [f"{server.base}/bucket/{number}.jpg" for number in range(count)]
    seconds = seconds_of("poolwise", urls, count)
    statuses = [line.split()[1] for line in server.log.read_text().splitlines()]
    refused = statuses[500:].count("429") / max(1, len(statuses) - 500)
    rate = count / seconds / BUCKET_PER_SECOND
    verdict = "" if rate >= 0.9 and refused < 0.03 else ": missed"
    print(
        f"bucket   {rate:.0%} of its rate, {refused:.1%} refused after the first 500   goal 90 %, 3 %{verdict}",
        flush=True,
    )


def memory(server: Server, count: int) -> None:
    urls = [f"{server.base}/many/{number:07d}-{'photograph' * 6}.jpg" for number in range(count)]
    with scratch() as folder:
        listing = folder / "urls.txt"
        listing.write_text("\n".join(urls))
        command = command_of("poolwise", listing, folder / "out")
        process = subprocess.Popen(command or [], stderr=subprocess.PIPE)
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BrokenRun(errors.decode()[-500:])
    peak = usage.ru_maxrss / 1e3
    print(f"memory   {count:,} URLs: peak {peak:.0f} MB   goal 150{'' if peak < 150 else ': missed'}", flush=True)


# -- a server with slots -----------------------------------------------------------------------------------------------


@contextmanager
def slot_server() -> Iterator[str]:
    """A server that serves `SLOTS` requests at a time, and lets the others wait in line."""
    with scratch() as folder:
        make_photos(folder / "photos", 1)
        body = (folder / "photos" / "0.jpg").read_bytes()
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    loop, started = asyncio.new_event_loop(), threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        slots = asyncio.Semaphore(SLOTS)

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while (await reader.readuntil(b"\r\n\r\n")) != b"":
                    async with slots:
                        await asyncio.sleep(SLOT_SECONDS)
                    writer.write(answer)
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
        port = server.sockets[0].getsockname()[1]
        started.set()

    loop.create_task(serve())
    threading.Thread(target=loop.run_forever, daemon=True).start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)


def slots(count: int) -> None:
    with slot_server() as base:
        urls = [f"{base}/{number}.jpg" for number in range(count)]
        rate = count / seconds_of("poolwise", urls, count) / (SLOTS / SLOT_SECONDS)
    print(f"slots    {rate:.0%} of its rate   goal 90 %{'' if rate >= 0.9 else ': missed'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--folder", help="where folders are made and removed")
    parser.add_argument("--call", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        call(*arguments.call)
        return
    wanted, small, blocks = arguments.only.split(","), 10 if arguments.quick else 1, arguments.blocks
    if unknown := set(wanted) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if arguments.folder is not None and not os.path.isdir(arguments.folder):
        parser.error(f"there is no folder {arguments.folder}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="poolwise-bench-", dir=arguments.folder) as folder,
            nginx(4000) as server,
        ):
            tempfile.tempdir = folder
            actions: dict[str, Callable[[], None]] = {
                "few": lambda: few(server, blocks),
                "latency": lambda: latency(server, blocks, 2000 // small),
                "quick": lambda: quick(server, blocks, 4000 // small),
                "slots": lambda: slots(4000 // small),
                "bucket": lambda: bucket(server, 4000 // small),
                "memory": lambda: memory(server, 100_000 // small),
            }
            for row in wanted:
                actions[row]()
    except BrokenRun as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
