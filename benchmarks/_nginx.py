"""A web server on loopback for benchmarks: nginx, with photographs of about 80 KB, and paths that behave differently.

/quick/N.jpg    at once
/slow/N.jpg     after 50 ms, in the server
/bucket/N.jpg   at once up to 400 a second, with a burst of 40; above that 429; requests are logged
/many/NAME.jpg  a small one, at once, whatever its name
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _paired import BrokenRun

LATENCY_SECONDS = 0.05
BUCKET_PER_SECOND = 400
PHOTO_BYTES = 80_000
_STARTS_WITHIN_SECONDS = 10.0

_CONFIGURATION = """
load_module {module};
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    types {{ image/jpeg jpg; }}
    log_format status "$msec $status";
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    limit_req_zone $server_name zone=bucket:1m rate={bucket}r/s;
    limit_req_status 429;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        server_name photos;
        root {folder}/photos;
        location ~ ^/quick/(.+)$ {{ try_files /$1 =404; }}
        location ~ ^/slow/(.+)$ {{ echo_sleep {latency}; echo_exec /quick/$1; }}
        location ~ ^/bucket/(.+)$ {{
            access_log {folder}/bucket.log status;
            limit_req zone=bucket burst=40 nodelay;
            try_files /$1 =404;
        }}
        location /many/ {{ try_files /small.jpg =404; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        base: what URLs begin with.
        log: of requests to /bucket/, a line each: Unix time and status.
    """

    base: str
    log: Path


@contextmanager
def nginx(photos: int, originals: Path | None = None) -> Iterator[Server]:
    """Start nginx with so many photographs, 0.jpg and on: made ones, or those of a folder, again and again.

    Raises:
        BrokenRun: nginx, or its echo module, is not there, or it does not start.
    """
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    module = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
    if not os.access(program, os.X_OK) or not module.exists():
        raise BrokenRun("needs nginx with its echo module (Debian: nginx-light)")
    with tempfile.TemporaryDirectory(prefix="poolwise-bench-") as folder:
        os.chmod(folder, 0o755)  # Workers of nginx are not root.
        if originals is None:
            make_photos(Path(folder, "photos"), photos)
        else:
            link_photos(Path(folder, "photos"), photos, originals)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(
            _CONFIGURATION.format(
                module=module, folder=folder, port=port, latency=LATENCY_SECONDS, bucket=BUCKET_PER_SECOND
            )
        )
        process = subprocess.Popen([program, "-c", str(configuration), "-p", folder], stderr=subprocess.DEVNULL)
        try:
            _await(port, process, Path(folder, "error.log"))
            yield Server(f"http://127.0.0.1:{port}", Path(folder, "bucket.log"))
        finally:
            process.terminate()
            process.wait()


def make_photos(folder: Path, count: int) -> None:
    """Write JPEGs of about 80 KB: 20 different ones, linked under as many names as are wanted."""
    from PIL import Image

    folder.mkdir(parents=True)
    folder.chmod(0o755)
    Image.new("RGB", (8, 8), "red").save(folder / "small.jpg", "JPEG")
    draw = random.Random(5)
    for number in range(count):
        path = folder / f"{number}.jpg"
        if number >= 20:
            os.link(folder / f"{number % 20}.jpg", path)
            continue
        noise = Image.frombytes("RGB", (160, 120), draw.randbytes(160 * 120 * 3)).resize((640, 480))
        quality = next((q for q in range(20, 96) if _size(noise, path, q) >= PHOTO_BYTES), 95)
        _size(noise, path, quality)


def link_photos(folder: Path, count: int, originals: Path) -> None:
    """Give the photographs of a folder as many names as are wanted."""
    found = sorted(path for path in originals.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise BrokenRun(f"no photographs in {originals}")
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    for number in range(count):
        path = found[number % len(found)]
        (folder / f"{number}.jpg").symlink_to(path.resolve())


def _size(image: object, path: Path, quality: int) -> int:
    image.save(path, "JPEG", quality=quality)  # type: ignore[attr-defined]
    return path.stat().st_size


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise BrokenRun(f"nginx did not start: {log.read_text() if log.exists() else 'no log'}")
