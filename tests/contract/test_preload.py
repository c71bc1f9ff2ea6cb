"""Workers have numpy from the start where the calling process has it, and are as they would be without that."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from poolwise._runtime import server

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers import numpy themselves")


def _said(program: str, **environ: str) -> str:
    """Run a program in a fresh process; return what it prints."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.strip()


LOADED = """
    import sys{imports}
    import poolwise

    def has_numpy(_):
        return "numpy" in sys.modules

    print(set(poolwise.map(has_numpy, range(4), shape="2x1")))
"""


@linux_only
def test_workers_have_what_the_calling_process_has() -> None:
    """And nothing that it has not."""
    assert _said(LOADED.format(imports=", numpy")) == "{True}"
    assert _said(LOADED.format(imports="")) == "{False}"


@linux_only
@pytest.mark.parametrize("job", ["fetch", "images"])
def test_workers_have_our_jobs_where_the_calling_process_has_them(job: str) -> None:
    """A worker that begins with that has nothing to import."""
    program = """
        import sys
        import poolwise{imported}

        def has_job(_):
            return "poolwise.jobs.{job}" in sys.modules

        print(set(poolwise.map(has_job, range(4), shape="2x1")))
    """
    assert _said(program.format(job=job, imported=f", poolwise.jobs.{job}")) == "{True}"
    assert _said(program.format(job=job, imported="")) == "{False}"


@linux_only
def test_another_numpy_is_left_alone(tmp_path: Path) -> None:
    """One that only the calling process finds is imported by the workers, which search where that does."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("other = True\n")
    program = """
        import sys
        sys.path.insert(0, {folder!r})
        import numpy
        import poolwise

        def look(_):
            before = "numpy" in sys.modules
            import numpy
            return before, numpy.other

        found = list(poolwise.map(look, range(4), shape="2x1"))
        print(any(before for before, _ in found[:1]), {{other for _, other in found}})
    """
    assert _said(program.format(folder=str(tmp_path))) == "False {True}"


def test_numpy_that_came_later_is_there_for_later_runs() -> None:
    """The forkserver is an older one then."""
    program = """
        import os, sys
        import poolwise

        def has_numpy(_):
            return "numpy" in sys.modules

        first = list(poolwise.map(has_numpy, range(4), shape="2x1"))
        import numpy
        second = list(poolwise.map(has_numpy, range(4), shape="2x1"))
        third = list(poolwise.map(numpy.sqrt, range(4), shape="2x1"))
        print(set(first), set(second), *map(int, third))
    """
    assert _said(program) == f"{{False}} {{{sys.platform == 'linux'}}} 0 1 1 1"


def test_workers_draw_different_numbers(tmp_path: Path) -> None:
    """numpy's global generator is not the same in all of them."""
    program = f"""
        import os, time, numpy
        import poolwise

        def draw(_):
            folder = {str(tmp_path)!r}
            open(os.path.join(folder, str(os.getpid())), "w").close()
            while len(os.listdir(folder)) < 2:  # Both workers draw.
                time.sleep(0.001)
            return float(numpy.random.random())

        mine = float(numpy.random.random())
        print(len({{mine, *poolwise.map(draw, range(64), shape="2x1")}}))
    """
    assert _said(program) == "65"


@pytest.mark.parametrize(("shape", "workers"), [("2x1", 2), ("1x1", 1)])
def test_native_threads_are_what_a_lane_may_have(shape: str, workers: int) -> None:
    """Whatever their number was when numpy was loaded."""
    program = f"""
        import os, numpy, poolwise

        def threads(_):
            import threadpoolctl
            numpy.ones((64, 64)) @ numpy.ones((64, 64))
            pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
            return max(pools), os.environ["OPENBLAS_NUM_THREADS"]

        print(set(poolwise.map(threads, range(6), shape={shape!r}, isolate=True)))
    """
    share = max(1, min(2, os.cpu_count() or 1) // workers)
    assert _said(program, POOLWISE_CORES="2") == str({(share, str(share))})


@linux_only
def test_a_numpy_that_ends_the_forkserver_costs_no_run(tmp_path: Path) -> None:
    """The next forkserver leaves it to the workers."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(
        "import os, sys\n"
        "if 'poolwise._runtime.forkserver' in sys.modules and 'poolwise._api' not in sys.modules:\n"
        "    os._exit(1)\n"
    )
    program = """
        import numpy
        import poolwise

        for _ in range(2):
            print(list(poolwise.map(abs, range(4), shape="2x1")))
    """
    assert _said(program, PYTHONPATH=str(tmp_path)) == "[0, 1, 2, 3]\n[0, 1, 2, 3]"


@pytest.mark.parametrize(
    ("lines", "options", "early"),
    [(2_000, {}, True), (20, {}, False), (20, {"shape": "2x8"}, True), (2_000, {"shape": "1x8"}, False)],
)
def test_a_long_list_has_workers_get_ready_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, options: dict[str, str], early: bool
) -> None:
    """While `poolwise fetch` imports what it needs itself; where they cannot be had, it goes on."""
    from poolwise import BackendError
    from poolwise.cli.fetch import FetchCommand, fetch_command

    asked = []

    def refuse(modules: Sequence[str] = ()) -> None:
        asked.extend(modules)
        raise BackendError("there are none")

    monkeypatch.setattr(server, "prestart", refuse)
    monkeypatch.setattr("poolwise._api._start_early", lambda *_: None)  # Which would hear of it.
    urls = tmp_path / "urls.txt"
    urls.write_text("ftp://example.com/photo.jpg\n" * lines)
    command = FetchCommand(str(urls), str(tmp_path / "out"), options=options)  # type: ignore[arg-type]
    assert fetch_command(command) == 3
    assert asked == ["poolwise.jobs.fetch"] * early


@pytest.mark.skipif(not server.can_fork(), reason="there is no forkserver")
def test_ctrl_c_while_the_forkserver_is_awaited_at_exit() -> None:
    """It is killed, and nobody hears of it: the process ends anyway."""
    program = """
        import os, subprocess
        from poolwise._runtime import server

        server.prestart()
        process, waits = server._server.process, []

        def interrupted(timeout=None):
            waits.append(timeout)
            if timeout is not None:
                raise KeyboardInterrupt
            code = subprocess.Popen.wait(process)
            os.write(1, b"%d %d" % (len(waits), code))
            return code

        process.wait = interrupted
    """
    assert _said(program) == "2 -9"
