"""The fetch job: URLs into files of one folder.

    lines ─parse─> targets ──> poolwise.run(Fetcher) ──> outcomes, one per line
    one target: is it there already? ask ─> Body ─> is it an image, and whole? ─> its final name

What is fetched is in the run's journal, in DST; nothing else remembers anything.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from typing import Unpack

    from poolwise._core.journal import Recorded
    from poolwise.jobs.fetch.transport import Head, Reply, Transport

import poolwise
from poolwise import Journal, TaskError, UsageError
from poolwise._core.job import Decision, Ended, Final, GroupLimits, Job, RetryAfter
from poolwise._core.model import check_number
from poolwise._core.stage import JobStage, check_stage_options
from poolwise.jobs import RunOptions, check_options
from poolwise.jobs._extras import require
from poolwise.jobs._records import journal_path
from poolwise.jobs.fetch import check, names, settle, urls
from poolwise.jobs.fetch.body import Body, Folder, Partial
from poolwise.jobs.fetch.check import Image
from poolwise.jobs.fetch.earlier import Earlier, is_there
from poolwise.jobs.fetch.errors import (
    BadReply,
    BadUrl,
    DamagedImage,
    FetchError,
    Incomplete,
    NotAllowed,
    NotAnImage,
    StorageFailed,
    Transient,
)
from poolwise.jobs.fetch.keeping import Keeping
from poolwise.jobs.fetch.limits import FetchLimits
from poolwise.jobs.fetch.outcome import Fetched
from poolwise.jobs.fetch.urls import BadLine, Url

FIRST_LANES = 16
"""Lanes of a host at first; they double while nothing fails."""

FILE_CPU_SECONDS = 0.0006
"""CPU that a file of 80 KB takes, about: engine, transport, checks, file and journal. Only when worker processes come
depends on it, so an order of magnitude will do."""

_REFUSALS = ("noai", "noimageai")
_VERIFY = ("structure", "decode")


class FetchOptions(RunOptions, total=False):
    """What is fetched, and how; options of `poolwise.run` come on top.

    Attributes:
        any: fetch files of any kind; otherwise only images that are whole are kept.
        verify: "structure" reads magic bytes, size and completeness; "decode" also decodes every pixel, in a child
            process.
        max_pixels, max_frames: of an image that is decoded.
        per_host: lanes that each host has at most; otherwise as many as it takes well.
        per_second: requests started a second, at each host.
        attempts: at each URL, the first included, where another one may help.
        allow_private: connect to addresses that are not public, too.
        respect_robots_tag: leave what is sent with X-Robots-Tag noai or noimageai.
        user_agent: sent with each request.
        ca_file: certificates to trust instead of the system's.
        retry_failed: try again what failed in an earlier run.
        update: ask again for what is there, and fetch it where it has changed (ETag, Last-Modified).
        durable: each file, and its line in the journal, is on the disk when its outcome is given.
        connect_seconds and the others: see `FetchLimits`.
    """

    any: bool
    verify: Literal["structure", "decode"]
    max_pixels: int
    max_frames: int
    per_host: int | None
    per_second: float | None
    attempts: int
    allow_private: bool
    respect_robots_tag: bool
    user_agent: str
    ca_file: str | None
    retry_failed: bool
    update: bool
    durable: bool
    connect_seconds: float | None
    read_seconds: float | None
    total_seconds: float | None
    min_bytes_per_second: float | None
    slow_seconds: float
    max_bytes: int | None
    max_decoded_bytes: int | None
    max_redirects: int
    max_header_bytes: int
    min_free_bytes: int | None
    max_retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked options that a fetcher needs."""

    any: bool = False
    verify: str = "structure"
    max_pixels: int = 200_000_000
    max_frames: int = 1_000
    per_host: int | None = None
    per_second: float | None = None
    attempts: int = 5
    allow_private: bool = False
    respect_robots_tag: bool = True
    user_agent: str = f"poolwise/{poolwise.__version__}"
    ca_file: str | None = None
    retry_failed: bool = False
    update: bool = False
    durable: bool = False

    def __post_init__(self) -> None:
        for name in ("any", "allow_private", "respect_robots_tag", "retry_failed", "update", "durable"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}; it must be True or False")
        for name in ("max_pixels", "max_frames", "attempts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value!r}; it must be a whole number above 0")
        if self.per_host is not None:
            check_number("per_host", self.per_host, whole=True)
        if self.per_second is not None:
            check_number("per_second", self.per_second)
        if self.verify not in _VERIFY:
            raise UsageError(f"verify is {self.verify!r}; it must be one of {', '.join(map(repr, _VERIFY))}")
        if self.any and self.verify == "decode":
            raise UsageError("any=True keeps files that are no images, and verify='decode' decodes images: choose one")
        agent = self.user_agent
        if not isinstance(agent, str) or not (agent and agent.isprintable() and agent.isascii()):
            raise UsageError(f"user_agent is {self.user_agent!r}; it must be printable ASCII")
        if self.ca_file is not None and not (isinstance(self.ca_file, str) and os.path.isfile(self.ca_file)):
            raise UsageError(f"ca_file is {self.ca_file!r}, and there is no such file")


class Target(NamedTuple):
    """An item of the run.

    Attributes:
        key: what it is known by: the normalised URL, or the line that holds none.
        text: the URL as it was written; or, where `digits` is None, why it is none.
        digits: how many its file's name needs.
    """

    key: str
    text: str
    digits: int | None


def fetch(
    lines: Iterable[str | BadLine], destination: str | os.PathLike[str], **options: Unpack[FetchOptions]
) -> poolwise.Run[Fetched]:
    """Fetch URLs into a folder: `for outcome in fetch(urls, "photos/"): ...`.

    A file that has its final name is whole. A second call with the same folder fetches only what is missing.

    Args:
        lines: URLs. All are read before work starts, as names must be told apart; blank ones are passed over.
        destination: a folder, created where it is missing.
        **options: see `FetchOptions`.

    Returns:
        A run with one outcome per line: `key` is the URL, `value` a `Fetched`; the `__cause__` of `error` is a
        `FetchError`. A URL that comes twice is fetched once.

    Raises:
        UsageError: where an argument cannot be meant.
        BackendUnavailable: where pycurl is not installed, or Pillow for verify="decode".
        JournalError: the journal in the folder is damaged, or in use.
    """
    from poolwise._api import run_job

    check_options("fetch", options.keys() - {"key", "retry"}, FetchOptions.__annotations__.keys() - {"retry"})
    _check_lines(lines)
    fetcher, journal, job, run_options = _prepared(destination, dict(options))
    items = _Targets(lines)
    run_options.setdefault("total", len(items))
    run: poolwise.Run[Fetched] = run_job(fetcher, items, job, key=key_of, journal=journal, **run_options)
    weakref.finalize(run, fetcher.close)
    return run


def fetch_stage(destination: str | os.PathLike[str], **options: Unpack[FetchOptions]) -> JobStage:
    """Fetch URLs as the first stage of `poolwise.pipeline`: `pipeline(urls, fetch_stage("photos/"), ...)`.

    Its values are `Fetched`. What is fetched is in the journal in the folder, as for `fetch`, beside the journal of the
    pipeline: a file that is whole is handed on, and not fetched again.

    Args:
        destination: a folder, created where it is missing.
        **options: see `FetchOptions`; of the options of `poolwise.run` those of `poolwise.Stage`, and `journal`.

    Raises:
        UsageError, BackendUnavailable: as for `fetch`.
    """
    fetcher, journal, job, run_options = _prepared(destination, dict(options))
    check_stage_options(
        run_options, "fetch_stage", more=FetchOptions.__annotations__.keys() - RunOptions.__annotations__
    )
    return JobStage(
        fetcher, "fetch", run_options, job, items=_Targets, key=key_of, journal=journal, close=fetcher.close
    )  # fmt: skip


def _prepared(
    destination: str | os.PathLike[str], options: dict[str, Any]
) -> tuple[Fetcher, Journal, Job, dict[str, Any]]:
    """Check everything; return what is done to one item, what it remembers, what the engine must know, and the rest."""
    settings, limits, run_options = _sorted_options(options)
    require("pycurl", "fetch", "the fetch job needs pycurl")
    if settings.verify == "decode":
        require("PIL.Image", "images", "verify='decode' needs Pillow")
    path = _folder_path(destination)
    try:
        folder = Folder(path, min_free_bytes=limits.min_free_bytes, durable=settings.durable)
    except StorageFailed as error:
        raise UsageError(str(error)) from None
    journal = _journal(run_options.pop("journal", None), folder.path, settings)
    run_options.setdefault("hint", "io")
    fetcher = Fetcher(folder, settings, limits, os.path.abspath(journal.path))
    return fetcher, journal, _job(settings, limits), run_options


def _folder_path(destination: Any) -> str:
    """Return the absolute path of DST, where it can be one."""
    name = os.fspath(destination) if isinstance(destination, str | os.PathLike) else None
    if not isinstance(name, str) or not name or "\0" in name:
        raise UsageError(f"destination is {destination!r}; it must be the path of a folder")
    path = os.path.abspath(name)
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"{path!r} is not a folder")
    if os.path.islink(path) and not os.path.exists(path):
        raise UsageError(f"{path!r} is a link to {os.readlink(path)!r}, where there is nothing; make that folder first")
    return path


def _check_lines(lines: Any) -> None:
    """Raise UsageError where these are no lines."""
    if isinstance(lines, str | bytes):
        raise UsageError(f"the URLs are one text, {lines[:80]!r}; give a list of them: [url]")
    if not isinstance(lines, Iterable):
        raise UsageError(f"the URLs are {lines!r}; give something that can be iterated over, such as a list of texts")


def _sorted_options(options: dict[str, Any]) -> tuple[Settings, FetchLimits, dict[str, Any]]:
    """Take the options apart: ours, the limits of each download, and those of `poolwise.run`."""
    ours = {field.name: options.pop(field.name) for field in fields(Settings) if field.name in options}
    bounds = {field.name: options.pop(field.name) for field in fields(FetchLimits) if field.name in options}
    if "retry" in options:
        raise UsageError("retry is for poolwise.run; attempts= says how often fetch tries each URL")
    if "key" in options:
        raise UsageError("key is for poolwise.run; fetch knows its outcomes by their URLs")
    return Settings(**ours), FetchLimits(**bounds), options


def _journal(given: Any, folder: str, settings: Settings) -> Journal:
    journal = given if isinstance(given, Journal) else Journal(journal_path(given, folder))

    began = time.time()

    def again(recorded: Recorded) -> bool:
        """Say whether a URL is asked for again: its file is gone, or is to be compared, and was not in this run."""
        if recorded.error is not None:
            return recorded.started < began and may_pass(recorded.error)
        value = recorded.value
        if not isinstance(value, Fetched):
            return False
        return (settings.update and recorded.started < began) or not is_there(folder, value)

    return replace(
        journal,
        retry_failed=journal.retry_failed or settings.retry_failed,
        durable=journal.durable or settings.durable,
        again=again,
    )


def may_pass(error: TaskError) -> bool:
    """Say whether what failed in an earlier run is tried again anyway.

    The disk may have room now; and a line that is no URL costs nothing, and may be another one under the same number.
    """
    return isinstance(error.__cause__, StorageFailed | BadUrl)


def _job(settings: Settings, limits: FetchLimits) -> Job:
    """Return what the engine is to know of hosts and attempts."""
    rng = random.Random()

    def settled(ended: Ended) -> Decision:
        if ended.error is None:
            return None
        cause, longest = ended.error.__cause__, limits.max_retry_after_seconds
        again = settle.decide(cause, ended.attempts, settings.attempts, longest, rng)
        if again is None:
            return Final(error=ended.error, refused=isinstance(cause, Transient))
        return RetryAfter(again.seconds, park_group=again.park, throttled=again.throttled)

    first = FIRST_LANES if settings.per_host is None else min(FIRST_LANES, settings.per_host)
    bounds = GroupLimits(first=first, most=settings.per_host, per_second=settings.per_second)
    return Job(
        group=host_of,
        group_limits=bounds,
        settle=settled,
        owner="poolwise.jobs.fetch:fetch",
        cpu_seconds=FILE_CPU_SECONDS,
    )


def host_of(target: Target) -> str:
    """Return the host that a target is asked of, with its port; "" where it is no URL."""
    return "" if target.digits is None else target.key.partition("//")[2].partition("/")[0]


def key_of(target: Target) -> str:
    """Return what a target is known by."""
    return target.key


class GoodUrls:
    """The URLs among some lines; as often as wanted, without a copy."""

    def __init__(self, lines: list[str | BadLine]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[Url]:
        return (url for _, url in urls.keys(self._lines) if isinstance(url, Url))


def targets(lines: list[str | BadLine]) -> Iterator[Target]:
    """Give the items of a run, one by one; names are told apart before the first."""
    clashes = names.Clashes(GoodUrls(lines))
    for line, (key, url) in zip(lines, urls.keys(lines)):
        if isinstance(url, Url):
            yield Target(key, cast("str", line), clashes.digits(url))
        else:
            yield Target(key, url, None)


class _Targets:
    """The items of a run; blank lines are passed over. An item that is no text costs itself."""

    def __init__(self, lines: Iterable[str | BadLine]) -> None:
        _check_lines(lines)
        self._lines: list[str | BadLine] = []
        for number, line in enumerate(lines):
            if not isinstance(line, str | BadLine):
                line = BadLine(f"item {number}", f"is no text, but of the type {type(line).__qualname__}")
            if isinstance(line, BadLine) or line.strip():
                self._lines.append(line)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Target]:
        return targets(self._lines)


class Fetcher:
    """What is done to one target. Picklable; what it needs for that is made once in each process.

    Args:
        folder: DST.
        settings: what is wanted.
        limits: of each download.
        journal: path of the journal, for what an earlier run knew.
    """

    def __init__(self, folder: Folder, settings: Settings, limits: FetchLimits, journal: str) -> None:
        self.__qualname__ = "fetch"  # What functions are called by, in progress bars and messages.
        self.settings = settings
        self._folder = folder
        self._limits = limits
        self._earlier = Earlier(journal)
        self._keeping = Keeping(always=settings.durable or settings.verify == "decode")
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._decoders: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _fetcher_of, (
            self._folder.path, self.settings, self._limits, self._earlier.journal,
        )  # fmt: skip

    async def __call__(self, target: Target) -> Fetched:
        """Fetch one target.

        Raises:
            FetchError: saying in one sentence why it was not.
        """
        if target.digits is None:
            raise BadUrl(target.text)
        self._folder.check_space()
        url = urls.parse(target.text)
        known = self._earlier.fetched(url) if self.settings.update else None
        if known is not None and not is_there(self._folder.path, known):
            known = None
        fetched = await self._fetch(url, target.digits, known)
        return fetched if fetched is not None else cast("Fetched", await self._fetch(url, target.digits, known))

    async def _fetch(self, url: Url, digits: int, known: Fetched | None) -> Fetched | None:
        """Ask once; None where there was a partial file that could not be gone on with, and is gone now."""
        partial = self._folder.partial(url)
        visit = _Visit(self, url, partial, known)
        headers = partial.headers() if partial is not None else _conditions(known)
        body = None
        try:
            reply = await self.transport.get(url, headers, visit.receive)
            body = visit.body
            if body is None:
                return self._without_body(url, reply, known, partial)
            noted = body.noted or partial is not None
            if body.is_large or self._keeping.goes_beside():
                return await asyncio.to_thread(self._keep, url, digits, reply, body, known, noted=noted)
            began = time.perf_counter()
            fetched = self._keep(url, digits, reply, body, known, noted=noted)
            self._keeping.took(time.perf_counter() - began)
            return fetched
        except BaseException as error:
            if visit.body is not None:
                if isinstance(error, FetchError):
                    error.note(bytes=visit.body.size)
                visit.body.abandon(error)
            raise

    def _without_body(self, url: Url, reply: Reply, known: Fetched | None, partial: Partial | None) -> Fetched | None:
        status, final = reply.head.status, reply.head.url.text
        if status == 304 and known is not None and partial is None:
            return replace(known, status=304, final_url=final, seconds=reply.seconds)
        if status == 416 and partial is not None:
            self._folder.discard(url)
            return None
        error = BadReply(f"answers {status} to a request that did not ask for that")
        error.note(status=status, final_url=final, seconds=reply.seconds)
        raise error

    def _keep(self, url: Url, digits: int, reply: Reply, body: Body, known: Fetched | None, *, noted: bool) -> Fetched:
        """Check a body that has come to its end, and give it its name."""
        head = reply.head
        try:
            image = self._image(body)
            path = body.close()
            if self.settings.verify == "decode":
                self.decoders.check(path)
            extension = image.extension if image is not None else _plain_extension(url, body.start)
            own, sha256 = None if known is None else known.path, body.sha256()
            name = self._folder.place(url, digits, extension, sha256, own=own, records=self._earlier, noted=noted)
        except FetchError as error:
            error.note(final_url=head.url.text, status=head.status, seconds=reply.seconds)
            raise
        kind = image.type if image is not None else head.headers.get("content-type", "").partition(";")[0].strip()
        return Fetched(
            name,
            url.text,
            head.url.text,
            head.status,
            body.size,
            kind,
            None if image is None else image.width,
            None if image is None else image.height,
            sha256,
            head.headers.get("etag", ""),
            head.headers.get("last-modified", ""),
            reply.seconds,
        )

    def _image(self, body: Body) -> Image | None:
        """Return what image it is.

        Raises:
            NotAnImage, DamagedImage: only whole images are wanted, and it is none.
        """
        if body.size == 0:
            if self.settings.any:
                return None
            raise NotAnImage("is not an image but nothing: the body is empty")
        found: list[Image] = []
        try:
            body.checked(lambda data: found.append(check.inspect(data)))
        except (NotAnImage, DamagedImage):
            if not self.settings.any:
                raise
        return found[0] if found else None

    # -- what each process has once

    @property
    def transport(self) -> Transport:
        """Connections and DNS answers, shared by all lanes of the loop that runs."""
        if self._transport is None or self._transport.loop is not asyncio.get_running_loop():
            from poolwise.jobs.fetch.transport import Transport

            self._transport = Transport(
                self._limits,
                allow_private=self.settings.allow_private,
                user_agent=self.settings.user_agent,
                ca_file=self.settings.ca_file,
            )
        return self._transport

    @property
    def decoders(self) -> Any:
        """Child processes that decode."""
        from poolwise.jobs.fetch.decoding import Decoders

        with self._lock:
            if self._decoders is None:
                self._decoders = Decoders(
                    os.cpu_count() or 1,
                    max_pixels=self.settings.max_pixels,
                    max_frames=self.settings.max_frames,
                    seconds=120.0,
                )
        return self._decoders

    def close(self) -> None:
        """Let go of connections, and of child processes."""
        with self._lock:
            if self._transport is not None and self._transport.loop.is_closed():
                self._transport.close()
            if self._decoders is not None:
                self._decoders.close()
        self._earlier.close()

    @property
    def limits(self) -> FetchLimits:
        """Of each download."""
        return self._limits

    @property
    def folder(self) -> Folder:
        """DST."""
        return self._folder


def _fetcher_of(path: str, settings: Settings, limits: FetchLimits, journal: str) -> Fetcher:
    folder = Folder(path, min_free_bytes=limits.min_free_bytes, durable=settings.durable)
    return Fetcher(folder, settings, limits, journal)


class _Visit:
    """Judges the response to one request, and gives its body a place.

    Attributes:
        body: once there is one.
    """

    def __init__(self, fetcher: Fetcher, url: Url, partial: Partial | None, known: Fetched | None) -> None:
        self.body: Body | None = None
        self._fetcher = fetcher
        self._url = url
        self._partial = partial
        self._known = known

    def receive(self, head: Head) -> Body | None:
        """See `transport.Receive`."""
        settings, headers = self._fetcher.settings, head.headers
        tag = headers.get("x-robots-tag")
        if tag and settings.respect_robots_tag and _is_refused(tag, settings.user_agent):
            raise NotAllowed("asks not to be used for machine learning (X-Robots-Tag: noai or noimageai)")
        if head.status in (304, 416):
            return None
        resumed = 0
        if head.status == 206:
            if self._partial is None:
                raise BadReply("answers with a part of it (206) that was not asked for")
            if _is_encoded(headers) or not self._partial.continued_by(headers.get("content-range", "")):
                self._fetcher.folder.discard(self._url)
                raise Incomplete("answers with another part of it than the one that was asked for")
            resumed = self._partial.size
        self.body = Body(
            self._fetcher.folder,
            self._url,
            most_bytes=self._fetcher.limits.max_decoded_bytes,
            image=not settings.any,
            validator=_validator(headers) if not self._url.userinfo else "",
            resumed=resumed,
        )
        return self.body


def _validator(headers: dict[str, str]) -> str:
    """Return what If-Range knows a body by: a strong ETag, else Last-Modified; "" where it cannot be resumed."""
    if _is_encoded(headers) or headers.get("accept-ranges", "").lower() == "none":
        return ""
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') and etag.isprintable() else headers.get("last-modified", "")


def _is_encoded(headers: dict[str, str]) -> bool:
    """Say whether ranges count bytes of something else than the file."""
    return headers.get("content-encoding", "").lower() not in ("identity", "")


def _conditions(known: Fetched | None) -> dict[str, str]:
    """Return the headers that ask for a body only where it has changed."""
    if known is None:
        return {}
    if known.etag:
        return {"If-None-Match": known.etag}
    return {"If-Modified-Since": known.last_modified} if known.last_modified else {}


def _is_refused(tag: str, user_agent: str) -> bool:
    """Read X-Robots-Tag: directives for all, and after "NAME:" for that robot."""
    ours = user_agent.partition("/")[0].strip().lower()
    robot = ""
    for part in tag.lower().split(","):
        name, colon, rest = part.strip().partition(":")
        if colon and name not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
            robot, part = name.strip(), rest
        if part.strip() in _REFUSALS and robot in ("", "*", ours):
            return True
    return False


def _plain_extension(url: Url, start: bytes) -> str | None:
    """Return the extension of a file that is no whole image; None where it is the URL's own."""
    return names.page_extension(url) if check.other_kind(start) == "an HTML page" else None
