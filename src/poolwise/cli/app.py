"""The typer application: commands, their options and help texts. What they do is in the file of each command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from poolwise.cli.terminal import FAILED, INTERRUPTED, USAGE, CommandError, say, say_error

app = typer.Typer(
    name="poolwise",
    add_completion=False,
    rich_markup_mode=None,  # plain help does not import rich, and comes in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

EXIT_CODES = "Exit codes: 0 all done, 1 the run failed, 2 usage, 3 done with failed items, 130 interrupted."


def run_app(arguments: list[str]) -> int:
    """Run the command line and return the exit code. Nothing that a user can cause ends in a traceback."""
    try:
        code = app(args=arguments, prog_name="poolwise", standalone_mode=False)
    except CommandError as error:
        say_error(error.message, error.hint)
        return error.code
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        # Typer brings click under its own name or under click's, so its errors are known by what they can do.
        if not hasattr(error, "format_message"):
            raise
        say_error(*_usage_words(error))
        return USAGE
    return code if isinstance(code, int) else FAILED


def _guarded(command: Callable[[], int]) -> int:
    """Run a command; a Ctrl-C that it does not see to itself ends it with a word. (Typer would end it with none.)"""
    try:
        return command()
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def _tidied(command: Callable[[], int]) -> int:
    """Run a command that works in temporary folders: SIGTERM ends it as Ctrl-C does, and they go."""
    from poolwise.cli.interrupts import termination

    with termination():
        return _guarded(command)


def _usage_words(error: Any) -> tuple[str, str]:
    """Put a usage error of typer into our words: a sentence without a capital, and where to read on."""
    message = str(error.format_message()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "poolwise"
    return message[:1].lower() + message[1:], f"{command} --help says more"


def _show_version(wanted: bool) -> None:
    if wanted:
        import poolwise

        typer.echo(f"poolwise {poolwise.__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Apply one function to many items, on threads or processes as fits, without losing an item."""


Shape = Annotated[
    str, typer.Option(metavar="SHAPE", help="Workers x lanes: auto, serial, 1x8 (threads), 4x1 (processes), 4x8.")
]
Progress = Annotated[bool, typer.Option("--progress", help="Show a progress bar on stderr.")]


Function = Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="Such as math:sqrt or my_file.py:fetch.")]
ItemsFile = Annotated[
    str | None,
    typer.Argument(metavar="ITEMS", show_default=False, help="A file with one item a line, or - for stdin."),
]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="ITEMS holds JSON lines; the function gets the values.")]
CsvFile = Annotated[str | None, typer.Option(metavar="FILE", help="Take the items from a CSV file (- for stdin).")]
Column = Annotated[str | None, typer.Option(metavar="NAME", help="The column of --csv that holds them.")]
Glob = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Take the paths of matching files, sorted; '**' crosses folders."),
]
Starred = Annotated[
    bool, typer.Option("--starred", help="Spread JSON lists over positional, objects over keyword arguments.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Stop an item that runs longer (in a child process).")
]
Isolate = Annotated[
    bool, typer.Option("--isolate", help="Only child processes, one item at a time in each: survives crashes.")
]


JournalFile = Annotated[
    str | None,
    typer.Option("--journal", metavar="FILE", help="Record outcomes; run again, it executes only what is missing."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="With --journal: execute what failed before again.")]
Durable = Annotated[
    bool, typer.Option("--durable", help="With --journal: each outcome is on the disk when it is given.")
]
Trace = Annotated[
    str | None,
    typer.Option("--trace", metavar="FILE", help="Write what happened when, for ui.perfetto.dev, however it ends."),
]
Force = Annotated[bool, typer.Option("--force", help="With --journal: go on with one of another function or options.")]


@app.command(
    name="run",
    epilog=EXIT_CODES,
    short_help="Call a function on every item; outcomes as JSON lines.",
)
def _run(
    function: Function,
    items: ItemsFile = None,
    *,
    jsonl: JsonLines = False,
    csv: CsvFile = None,
    column: Column = None,
    glob: Glob = None,
    starred: Starred = False,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", show_default=False, help="Write outcomes here, not to stdout."),
    ] = "-",
    shape: Shape = "auto",
    ordered: Annotated[bool, typer.Option("--ordered", help="Outcomes in input order, not as they complete.")] = False,
    retry: Annotated[int, typer.Option(min=0, metavar="N", help="Further attempts at an item that raises.")] = 0,
    timeout: Timeout = None,
    isolate: Isolate = False,
    per_second: Annotated[
        float | None, typer.Option("--per-second", metavar="N", help="Start at most N calls a second.")
    ] = None,
    journal: JournalFile = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FIELD", help="With --journal and --jsonl: the field that names an object."),
    ] = None,
    retry_failed: RetryFailed = False,
    durable: Durable = False,
    force: Force = False,
    trace: Trace = None,
    progress: Progress = False,
) -> int:
    """Call MODULE:FUNCTION on every item and write one JSON line per outcome.

    The current folder is importable. Each line of ITEMS is one item, a str, blank lines included (with --jsonl blank
    lines are passed over). Items are read as they are needed, so an endless stdin works. What the function prints
    goes to stderr.

    An outcome has: index, key, ok, value (null where JSON cannot hold it exactly, and then repr), error (null, or
    type, message, traceback), attempts, started, finished, seconds, cpu_seconds, worker, lane.

    Ctrl-C takes no more items and finishes those already taken; a second one stops at once.
    """
    from poolwise.cli.run import Field, RunCommand, run_command
    from poolwise.cli.sources import Source

    options: dict[str, Any] = {"shape": shape, "ordered": ordered, "retry": retry}
    options |= {"timeout": timeout, "isolate": isolate}
    if per_second is not None:
        options["limits"] = _limits("--per-second", per_second, per_second=per_second)
    options |= _journal(journal, durable=durable, retry_failed=retry_failed, force=force)
    if key is not None:
        if journal is None or not jsonl:
            raise CommandError("--key names the field of a JSON object for a journal; it needs --journal and --jsonl")
        options["key"] = Field(key)
    source = Source(items=items, csv=csv, glob=glob, jsonl=jsonl, column=column)
    command = RunCommand(function, source, output, starred=starred, progress=progress, trace=trace, options=options)
    return _guarded(lambda: run_command(command))


@app.command(name="profile", epilog=EXIT_CODES, short_help="Run the first items; say what they cost, and what to do.")
def _profile(
    function: Function,
    items: ItemsFile = None,
    *,
    jsonl: JsonLines = False,
    csv: CsvFile = None,
    column: Column = None,
    glob: Glob = None,
    starred: Starred = False,
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="How long to run items.")] = 1.0,
    hint: Annotated[str | None, typer.Option(metavar="io|cpu", help="What it is expected to be bound by.")] = None,
    timeout: Timeout = None,
    isolate: Isolate = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> int:
    """Run the first items of MODULE:FUNCTION, then say what binds it, which shape suits it, and why.

    The items run for real, each once. What the function prints goes to stderr.
    """
    from poolwise.cli.profile import ProfileCommand, profile_command
    from poolwise.cli.sources import Source

    if not 0 < seconds < float("inf"):
        raise CommandError(f"--seconds is {seconds:g}; it must be a finite number above 0")
    source = Source(items=items, csv=csv, glob=glob, jsonl=jsonl, column=column)
    options: dict[str, Any] = {"hint": hint, "timeout": timeout, "isolate": isolate}
    command = ProfileCommand(function, source, seconds, as_json=as_json, starred=starred, options=options)
    return _guarded(lambda: profile_command(command))


@app.command(name="bench", epilog=EXIT_CODES, short_help="Compare shapes, and other pools, on a function's own items.")
def _bench(
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", show_default=False, help="MODULE:FUNCTION, or a job: fetch, images."),
    ] = None,
    items: Annotated[
        str | None,
        typer.Argument(
            metavar="ITEMS", show_default=False, help="A file with one item (of fetch: URL) a line; of images a folder."
        ),
    ] = None,
    *,
    jsonl: JsonLines = False,
    csv: CsvFile = None,
    column: Column = None,
    glob: Glob = None,
    starred: Starred = False,
    shapes: Annotated[
        str | None, typer.Option(metavar="LIST", help="What to compare, such as 1x1,1x8,4x1,auto.")
    ] = None,
    peers: Annotated[
        bool,
        typer.Option("--peers", help="Also ThreadPoolExecutor, ProcessPoolExecutor, joblib, mpire; not for fetch."),
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Blocks; each has every side twice.")] = 5,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Wanted length of a run on one lane (2, or more).")
    ] = None,
    limit: Annotated[float | None, typer.Option(metavar="SECONDS", help="End a run that takes longer.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the order of runs, and of the intervals.")] = None,
    save: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep the runs here, block by block; run again, it goes on."),
    ] = None,
    show: Annotated[str | None, typer.Option(metavar="FILE", help="Analyse what --save kept; measure nothing.")] = None,
    plot: Annotated[str | None, typer.Option("--plot", metavar="FILE", help="Draw it: .png, .svg or .pdf.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every run.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    blur: Annotated[float | None, typer.Option(metavar="RADIUS", help="Of images: Gaussian blur.")] = None,
    fit: Annotated[str | None, typer.Option(metavar="SIZE", help="Of images: shrink into SIZE.")] = None,
    any_file: Annotated[bool, typer.Option("--any", help="Of fetch: files of any kind.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Of fetch: connect to addresses that are not public, too.")
    ] = False,
) -> int:
    """Run the items of TARGET through several shapes again and again, and say which is fastest, by how much, and why.

    It is for functions that are safe to repeat. Each run has a fresh process, and blocks hold every side twice, in a
    random order and its reverse. What the function prints goes nowhere; files that a job writes are removed. Leave the
    machine alone meanwhile. Ctrl-C ends it with what has been measured.
    """
    from poolwise.cli.bench import BenchCommand, bench_command, job_options
    from poolwise.cli.sources import Source

    if as_json and as_markdown:
        raise CommandError("--json and --markdown exclude each other")
    given = {"blur": blur, "fit": fit, "any": any_file or None, "allow_private": allow_private or None}
    wishes = {"repeats": repeats, "peers": peers, "save": save, "seconds": seconds, "seed": seed, "limit": limit}
    command = BenchCommand(
        target,
        Source(items=items, csv=csv, glob=glob, jsonl=jsonl, column=column),
        starred=starred,
        shapes=None if shapes is None else tuple(shapes.split(",")),
        show=show,
        plot=plot,
        form="json" if as_json else "markdown" if as_markdown else "text",
        job=job_options(target, {name: value for name, value in given.items() if value is not None}),
        wishes=wishes,
    )
    return _tidied(lambda: bench_command(command))


def _journal(path: str | None, **switches: bool) -> dict[str, Any]:
    """Return the option `journal`, where it was asked for."""
    if path is not None:
        from poolwise import Journal

        given: dict[str, Any] = dict(switches)
        return {"journal": Journal(path, **given)}
    for name, wanted in switches.items():
        if wanted:
            raise CommandError(f"--{name.replace('_', '-')} is about a journal; give --journal FILE with it")
    return {}


def _limits(option: str, given: float, **bound: Any) -> Any:
    from poolwise import Limits, UsageError

    try:
        return Limits(**bound)
    except UsageError as error:
        raise CommandError(f"{option} is {given:g}; it must be above 0") from error


def _note_operation(context: typer.Context, parameter: typer.CallbackParam, values: Any) -> Any:
    """Note that an operation was reached: typer calls back in the order of the command line."""
    if values and not context.resilient_parsing:
        if isinstance(values, list) and len(values) > 1:
            raise CommandError(f"--{parameter.name} is given {len(values)} times, and once is possible")
        context.meta.setdefault(_ORDER, []).append(parameter.name)
    return values


_ORDER = "poolwise.cli.operations"


def _operations(context: typer.Context, given: dict[str, Any]) -> dict[str, Any]:
    """Return the operations on images that a command line gives, by name, in its order: what was written, or True."""
    return {name: given[name] if given[name] is True else given[name][0] for name in context.meta.get(_ORDER, ())}


# What results are to be like, beside the operations: parameters of the command, and options.
_RESULT = {"image_format": "format", "quality": "quality", "strip": "strip"}


def _parse_operations(text: str) -> dict[str, Any]:
    """Read what `poolwise images` would do, as options of `images_stage`: "--fit 1200 --blur 15 --format webp"."""
    import shlex

    from poolwise import UsageError
    from poolwise.cli.images import read_operations

    hint = "poolwise images --help lists the operations"
    command: Any = typer.main.get_command(app)
    images = command.commands["images"]
    try:
        context = images.make_context("poolwise images", ["SRC", "DST", *shlex.split(text)])
        wanted = read_operations(_operations(context, context.params))
    except CommandError as error:
        raise CommandError(f"--then {text!r}: {error.message}", hint=error.hint) from error
    except UsageError as error:
        raise CommandError(f"--then {text!r}: {error}", hint=hint) from error
    except ValueError as error:
        raise CommandError(f"--then {text!r} cannot be read: {str(error).lower()}", hint=hint) from error
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise CommandError(f"--then {text!r}: {_usage_words(error)[0]}", hint=hint) from error
    for parameter in images.params:
        name = parameter.name
        if name in _RESULT and _is_given(context, name):
            wanted[_RESULT[name]] = context.params[name]
        elif name not in ("source", "destination", *wanted) and _is_given(context, name):
            raise CommandError(f"--then {text!r}: {parameter.opts[0]} is no operation on images", hint=hint)
    if not wanted:
        raise CommandError(f"--then {text!r} holds no operation", hint=hint)
    return wanted


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _operation(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, callback=_note_operation, help=text)


def _switch(name: str, text: str) -> Any:
    return typer.Option(f"--{name}", callback=_note_operation, help=text)


@app.command(name="images", epilog=EXIT_CODES, short_help="Process a folder of photographs into another folder.")
def _images(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, searched with its subfolders.")],
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="DST",
            show_default=False,
            help="The folder for the results, and for the journal; files of the same names are replaced.",
        ),
    ] = None,
    *,
    fit: Annotated[list[str] | None, _operation("SIZE", "Shrink into SIZE: 1200, or 1200x800.")] = None,
    fill: Annotated[list[str] | None, _operation("SIZE", "Scale to cover SIZE, and cut off the rest.")] = None,
    resize: Annotated[list[str] | None, _operation("WxH", "Scale to WxH, whatever the proportions.")] = None,
    crop: Annotated[list[str] | None, _operation("WxH+X+Y", "Cut out a part; of the middle without +X+Y.")] = None,
    rotate: Annotated[list[str] | None, _operation("DEGREES", "Turn clockwise.")] = None,
    blur: Annotated[list[str] | None, _operation("RADIUS", "Gaussian blur, radius in pixels.")] = None,
    sharpen: Annotated[bool, _switch("sharpen", "Unsharp mask.")] = False,
    grayscale: Annotated[bool, _switch("grayscale", "To grey.")] = False,
    autocontrast: Annotated[bool, _switch("autocontrast", "Stretch each channel to its range.")] = False,
    apply: Annotated[
        list[str] | None, _operation("MODULE:FUNCTION", "Call a function of a PIL image, that returns one.")
    ] = None,
    image_format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="jpeg, png, webp or avif; otherwise each its own.")
    ] = None,
    quality: Annotated[int | None, typer.Option(metavar="N", help="1 to 100, of what is lossy (JPEG: 75).")] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="Keep no EXIF, ICC profile, XMP; colours become sRGB.")
    ] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the originals; there is no DST then.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Compute at a smaller scale; tells how far off that is, on a sample.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="Only say what would be done.")] = False,
    truncated: Annotated[
        str, typer.Option(metavar="HOW", help="fail, or keep what there is of files that end too early.")
    ] = "fail",
    also: Annotated[
        list[str] | None, typer.Option(metavar="FORMAT", help="Read this too, such as jpeg2000; eps runs Ghostscript.")
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(metavar="N", help="Of a file, all pictures (200,000,000).")] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="Of an animation (1,000).")] = None,
    memory: Annotated[
        int | None, typer.Option(metavar="BYTES", help="For decoded images, together (a quarter of what is free).")
    ] = None,
    isolate: Isolate = False,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a row for each image in the end: CSV for .csv, else JSON lines."),
    ] = None,
    shape: Shape = "auto",
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="FILE", help="Keep the journal here, not in DST.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Each result is on the disk when its outcome is given.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Process everything again, also with a journal of something else.")
    ] = False,
    trace: Trace = None,
    progress: Progress = False,
) -> int:
    """Process every image in SRC and write the results to DST, under the same names.

    Operations are applied in the order in which they are written. EXIF orientation is applied, EXIF and ICC profiles
    are kept, originals are never touched, and a result appears complete or not at all. Run it again, and only what is
    new or has changed is processed. A file that cannot be processed costs that file, and is named with the reason.
    """
    from poolwise.cli.images import ImagesCommand, images_command, required

    required(destination, in_place=in_place)
    done: dict[str, Any] = {
        "fit": fit, "fill": fill, "resize": resize, "crop": crop, "rotate": rotate, "blur": blur, "sharpen": sharpen,
        "grayscale": grayscale, "autocontrast": autocontrast, "apply": apply,
    }  # fmt: skip
    operations = _operations(context, done)
    if not (operations or image_format or quality or strip):
        raise CommandError("there is nothing to do to the images", hint="give --blur RADIUS, --fit SIZE, or another")
    given = {"format": image_format, "quality": quality, "max_pixels": max_pixels, "max_frames": max_frames}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options |= {"strip": strip, "in_place": in_place, "fast": fast, "truncated": truncated, "also": also or ()}
    options |= {"retry_failed": retry_failed, "durable": durable, "force": force}
    options |= {"shape": shape, "isolate": isolate, "progress": progress}
    if memory is not None:
        options["limits"] = _limits("--memory", memory, buffered_bytes=memory)
    if journal is not None:
        options["journal"] = journal
    command = ImagesCommand(source, destination, operations, listing, manifest, trace, options)
    return _guarded(lambda: images_command(command))


@app.command(name="fetch", epilog=EXIT_CODES, short_help="Download the images of a list of URLs into a folder.")
def _fetch(
    urls: Annotated[str, typer.Argument(metavar="URLS", help="A file with one URL a line, or - for stdin.")],
    destination: Annotated[str, typer.Argument(metavar="DST", help="The folder for the files, and for the journal.")],
    *,
    csv: Annotated[bool, typer.Option("--csv", help="URLS is a CSV file; --column names the column.")] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="URLS holds JSON lines: texts, or objects and --column names the field.")
    ] = False,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of --csv, or field of --jsonl.")
    ] = None,
    any_file: Annotated[bool, typer.Option("--any", help="Keep files of any kind, not only whole images.")] = False,
    verify: Annotated[
        str, typer.Option(metavar="HOW", help="structure, or decode: also decode every pixel, in a child process.")
    ] = "structure",
    max_pixels: Annotated[int | None, typer.Option(metavar="N", help="With --verify decode: of a picture.")] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="With --verify decode: of a file.")] = None,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a row for each URL in the end: CSV for .csv, else JSON lines."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Ask again for what is there; fetch what has changed.")
    ] = False,
    attempts: Annotated[int | None, typer.Option(metavar="N", help="At each URL, where another may help (5).")] = None,
    per_host: Annotated[int | None, typer.Option(metavar="N", help="Lanes of each host, at most.")] = None,
    per_second: Annotated[float | None, typer.Option(metavar="N", help="Requests a second to each host.")] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Connect to addresses that are not public, too.")
    ] = False,
    ignore_robots_tag: Annotated[
        bool, typer.Option("--ignore-robots-tag", help="Keep what is sent with X-Robots-Tag noai or noimageai.")
    ] = False,
    user_agent: Annotated[str | None, typer.Option(metavar="TEXT", help="Sent with each request.")] = None,
    ca_file: Annotated[str | None, typer.Option(metavar="FILE", help="Certificates to trust.")] = None,
    connect_seconds: Annotated[float | None, typer.Option(metavar="S", help="Until a connection stands (15).")] = None,
    read_seconds: Annotated[float | None, typer.Option(metavar="S", help="Without a single byte (30).")] = None,
    total_seconds: Annotated[float | None, typer.Option(metavar="S", help="For one attempt (600).")] = None,
    min_speed: Annotated[
        float | None, typer.Option(metavar="N", help="Bytes a second on average (500; 0: any)")
    ] = None,
    slow_seconds: Annotated[float | None, typer.Option(metavar="S", help="For so long, of --min-speed (30).")] = None,
    max_bytes: Annotated[int | None, typer.Option(metavar="N", help="Of a body, as received (500,000,000).")] = None,
    max_decoded_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="Of a body, decompressed (500,000,000).")
    ] = None,
    max_redirects: Annotated[int | None, typer.Option(metavar="N", help="Followed (10).")] = None,
    max_header_bytes: Annotated[int | None, typer.Option(metavar="N", help="Of one response (65,536).")] = None,
    min_free: Annotated[
        int | None, typer.Option(metavar="N", help="Bytes that must be left on the disk (100,000,000; 0: any).")
    ] = None,
    max_retry_after: Annotated[
        float | None, typer.Option(metavar="S", help="Waited where a server asks for a pause (300).")
    ] = None,
    then: Annotated[
        str | None,
        typer.Option(
            metavar="OPERATIONS", help='Process each image too, as "--fit 1200 --blur 15" of poolwise images.'
        ),
    ] = None,
    then_to: Annotated[
        str | None, typer.Option(metavar="DIR", help="With --then: the folder for the results (DST/processed).")
    ] = None,
    shape: Shape = "auto",
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="FILE", help="Keep the journal here, not in DST.")
    ] = None,
    durable: Annotated[
        bool, typer.Option("--durable", help="Each file is on the disk when its outcome is given.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on with a journal that belongs to something else.")
    ] = False,
    trace: Trace = None,
    progress: Progress = False,
) -> int:
    """Download each of URLS into a file of DST; only whole images are kept.

    A file that has its final name is whole. Run it again, and only what is missing is fetched. A URL that cannot be
    fetched costs that URL, and is named with the reason. Behind a proxy the addresses that names lead to are the
    proxy's business: only addresses written in URLs are checked then. With --then images are processed while others are
    still being fetched; originals stay in DST.
    """
    from poolwise.cli.fetch import FetchCommand, fetch_command

    if csv and jsonl:
        raise CommandError("--csv and --jsonl exclude each other")
    if then_to is not None and then is None:
        raise CommandError("--then-to is the folder for what --then gives; give --then OPERATIONS with it")
    if then is not None and any_file:
        raise CommandError("--any keeps files of any kind, and --then processes images: choose one")
    given = {
        "max_pixels": max_pixels, "max_frames": max_frames, "per_host": per_host, "per_second": per_second,
        "attempts": attempts, "user_agent": user_agent, "ca_file": ca_file, "connect_seconds": connect_seconds,
        "read_seconds": read_seconds, "total_seconds": total_seconds, "min_bytes_per_second": min_speed,
        "slow_seconds": slow_seconds, "max_bytes": max_bytes, "max_decoded_bytes": max_decoded_bytes,
        "max_redirects": max_redirects, "max_header_bytes": max_header_bytes, "min_free_bytes": min_free,
        "max_retry_after_seconds": max_retry_after,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options |= {"any": any_file, "verify": verify, "shape": shape, "allow_private": allow_private, "update": update}
    options |= {"respect_robots_tag": not ignore_robots_tag, "retry_failed": retry_failed, "durable": durable}
    if journal is not None:
        options |= _journal(journal, force=force)
    elif force:
        from poolwise.jobs._records import journal_path

        options |= _journal(journal_path(None, destination), force=True)
    kind = "csv" if csv else "jsonl" if jsonl else "lines"
    operations = None if then is None else _parse_operations(then)
    command = FetchCommand(
        urls, destination, kind, column, manifest, trace, progress, options, operations, then_to
    )  # fmt: skip
    return _guarded(lambda: fetch_command(command))


@app.command(name="show", epilog=EXIT_CODES, short_help="What a journal holds: counts, failures, slowest items.")
def _show(
    journal: Annotated[str, typer.Argument(metavar="JOURNAL", help="A file that --journal made.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Write the outcomes instead, as JSON lines.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="With --values: as CSV.")] = False,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", show_default=False, help="With --values: write them here.")
    ] = "-",
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="NEW", help="Copy what can be read of a damaged journal into a new one."),
    ] = None,
) -> int:
    """Say what a journal holds. It may be in use meanwhile.

    JSON lines are exact. CSV is for spreadsheets: a number and the text of it look the same there, and a cell that
    begins with =, +, - or @ may be taken for a formula.
    """
    from poolwise.cli.show import ShowCommand, show_command

    if (as_csv or output != "-") and not values:
        raise CommandError("--csv and --output are about outcomes; give --values with them")
    kind = ("csv" if as_csv else "jsonl") if values else None
    return _guarded(lambda: show_command(ShowCommand(journal, as_json=as_json, values=kind, output=output, save=save)))


@app.command(name="report", epilog=EXIT_CODES, short_help="A page, pictures, or a trace of a run, out of its journal.")
def _report(
    journal: Annotated[str, typer.Argument(metavar="JOURNAL", help="A file that --journal made.")],
    *,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write one page of HTML (- for stdout).")
    ] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE", help="Write the pictures: .png, .svg or .pdf.")
    ] = None,
    trace: Annotated[
        str | None, typer.Option("--trace", metavar="FILE", help="Write a trace, which ui.perfetto.dev opens.")
    ] = None,
) -> int:
    """Tell what a run did, and why. Counts are of the whole journal, times and lanes of the last run that executed.

    The journal may be in use meanwhile.
    """
    from poolwise.cli.report import ReportCommand, report_command

    return _guarded(lambda: report_command(ReportCommand(journal, page=output, plot=plot, trace=trace)))


@app.command(name="tour", short_help="Lessons on threads and processes, each run and measured here.")
def _tour(
    lessons: Annotated[
        list[int] | None, typer.Argument(metavar="LESSON", show_default=False, help="Numbers; without one, the list.")
    ] = None,
    *,
    all_lessons: Annotated[bool, typer.Option("--all", help="Run all lessons, in a few minutes.")] = False,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Also write them as one page that loads nothing.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="The original seconds, not a fifth of them.")] = False,
    scale: Annotated[
        float | None, typer.Option(min=0.001, max=10.0, metavar="FACTOR", help="Multiply the original seconds by this.")
    ] = None,
    urls: Annotated[
        str | None, typer.Option(metavar="FILE", help="URLs to download from the web, not from a server made here.")
    ] = None,
    photos: Annotated[
        str | None, typer.Option(metavar="DIR", help="Photographs (JPEG) to process, not generated ones.")
    ] = None,
) -> int:
    """Run small programs with threads and processes, show what ran when, and say what that shows.

    Each lesson prints its program, which the standard library alone can run (lessons 20 to 23 need Pillow), measures it
    in a fresh process, and sets the same with poolwise beside it. Lessons 9, 10, 26 and 27 download from a server on
    loopback that answers as slowly as one far away; it needs Pillow for its images.
    """
    from poolwise.cli.tour import TourCommand, tour_command

    if full and scale is not None:
        raise CommandError("--full and --scale exclude each other")
    if all_lessons and lessons:
        raise CommandError("--all and numbers of lessons exclude each other")
    command = TourCommand(lessons or [], all_lessons, html, 1.0 if full else scale, urls, photos)
    return _tidied(lambda: tour_command(command))


@app.command(name="demo", short_help="The two built-in jobs, serially and as poolwise runs them, here.")
def _demo(
    photos: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Photographs to use; otherwise ../shared/photos, or generated ones."),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="DIR", help="The folder for the two reports; made where missing.")
    ] = ".",
) -> int:
    """Download images, and blur, shrink and save photographs: one after another, and under "auto"; show what it gained.

    Takes less than half a minute. Images come from a server on this machine. What is made goes to a temporary folder,
    which is removed; two reports stay, poolwise-demo-download.html and poolwise-demo-images.html.
    """
    from poolwise.cli.demo import demo_command

    return _tidied(lambda: demo_command(photos, output))
