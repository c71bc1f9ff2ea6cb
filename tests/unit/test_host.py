"""What host.py reads from a machine, on machines made up in tmp_path."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from poolwise._core.errors import UsageError
from poolwise._core.model import Limits
from poolwise._prepare import _resident_bytes
from poolwise._runtime import host

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
GIB = 1 << 30


class Machine:
    """A tree with /proc/self and /sys/fs/cgroup in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def version_2(self, path: str, files: dict[str, str | bytes], mounts: str = V2_MOUNT) -> None:
        self.write({"/proc/self/cgroup": f"0::{path}\n", "/proc/self/mountinfo": mounts})
        self.write({f"/sys/fs/cgroup/{name}": content for name, content in files.items()})

    @property
    def cores(self) -> float:
        return host.usable_cores(root=self.root)

    @property
    def memory(self) -> int:
        return host.available_memory_bytes(root=self.root)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of 64 cores and 64 GiB without control groups."""
    monkeypatch.delenv(host.CORES_VARIABLE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setitem(sys.modules, "psutil", fake_psutil())
    return Machine(tmp_path)


def fake_psutil(**process: object) -> SimpleNamespace:
    return SimpleNamespace(
        virtual_memory=lambda: SimpleNamespace(available=64 * GIB), Process=lambda: SimpleNamespace(**process)
    )


def raise_os_error(*arguments: object) -> None:
    raise OSError("no")


# --- cores: affinity, quota, variable


def test_affinity_alone(machine: Machine) -> None:
    """Without control groups the affinity is the answer."""
    assert machine.cores == 64.0
    assert isinstance(machine.cores, float)


def test_version_2_quota(machine: Machine) -> None:
    """A quota of 150 ms in 100 ms is one and a half cores."""
    machine.version_2("/a", {"a/cpu.max": "150000 100000\n"})
    assert machine.cores == 1.5
    assert host.core_count(root=machine.root) == 2


@pytest.mark.parametrize("tightest", ["a/b/c", "a/b", "a", "."])
def test_tightest_ancestor_binds(machine: Machine, tightest: str) -> None:
    """The quota of any group above this one counts, wherever the tightest is."""
    files: dict[str, str | bytes] = {f"{group}/cpu.max": "800000 100000\n" for group in ("a/b/c", "a/b", "a")}
    machine.version_2("/a/b/c", files | {f"{tightest}/cpu.max": "300000 100000\n"})
    assert machine.cores == 3.0


def test_max_is_no_quota(machine: Machine) -> None:
    """`max` bounds nothing, and hides no bound above it."""
    machine.version_2("/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 50000\n"})
    assert machine.cores == 4.0


def test_affinity_below_the_quota(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The affinity binds where it is the tighter one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    machine.version_2("/", {"cpu.max": "400000 100000\n"})
    assert machine.cores == 1.0


def test_version_1_quota(machine: Machine) -> None:
    """Version 1 has two files, and shares its mount with another controller."""
    machine.write(
        {
            "/proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/pod/box\n1:name=systemd:/\n0::/\n",
            "/proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
            "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            "/sys/fs/cgroup/cpu,cpuacct/pod/box/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu,cpuacct/pod/box/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us": "250000\n",
            "/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us": "100000\n",
        }
    )
    assert machine.cores == 2.5


def test_both_versions_at_once(machine: Machine) -> None:
    """On a machine that mounts both, each is walked for itself."""
    machine.write(
        {
            "/proc/self/cgroup": "1:cpu:/one\n0::/two\n",
            "/proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            "/sys/fs/cgroup/cpu/one/cpu.cfs_quota_us": "700000\n",
            "/sys/fs/cgroup/cpu/one/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/unified/two/cpu.max": "600000 100000\n",
        }
    )
    assert machine.cores == 6.0


@pytest.mark.parametrize(
    ("mount_root", "path", "group"),
    [
        ("/", "/", "."),
        ("/", "/a b", "a b"),
        ("/docker/abc", "/docker/abc", "."),
        ("/docker/abc", "/docker/abc/inner", "inner"),
        ("/docker/abc", "/elsewhere", "."),
        ("/docker/abc", "/docker/abcdef", "."),
        ("/", "/../..", "."),
        ("/../..", "/../..", "."),
        ("/../..", "/../../inner", "inner"),
        ("/../..", "/", "."),
        ("/", "/a/../b", "."),
        ("/", "", "."),
    ],
)
def test_where_the_group_is_below_its_mount(machine: Machine, mount_root: str, path: str, group: str) -> None:
    """The path in /proc/self/cgroup is relative to the namespace, the directory to what the mount shows."""
    mounts = f"31 23 0:28 {mount_root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    machine.version_2(path, {f"{group}/cpu.max": "700000 100000\n"}, mounts)
    assert machine.cores == 7.0


def test_a_path_that_climbs_reads_nothing_outside_the_mount(machine: Machine) -> None:
    """`..` in the group's path never leads out of the mount point."""
    machine.version_2("/../secret", {"cpu.max": "max 100000\n"})
    machine.write({"/sys/fs/secret/cpu.max": "100000 100000\n"})
    assert machine.cores == 64.0


def test_mount_point_with_escapes(machine: Machine) -> None:
    """A space in a mount point is written as an octal escape."""
    machine.write(
        {
            "/proc/self/cgroup": "0::/a\n",
            "/proc/self/mountinfo": "31 23 0:28 / /my\\040groups rw - cgroup2 none rw\n",
            "/my groups/a/cpu.max": "500000 100000\n",
        }
    )
    assert machine.cores == 5.0


GARBAGE_QUOTAS: list[str | bytes] = [
    *("", "\n", "max", "100000", "x y", "-5 100000", "100000 0", "0 100000", "1e5 1e5", "nan nan"),
    *("9" * 5000 + " 1", "100000 " + "9" * 5000, b"\xff\xfe\x00\x80 \xff", "\u0663 \u0664", "1 2 3", "\u00b2  1"),
]
GARBAGE_IN_PROC = [
    *(b"", b"\n\n", b"\xff" * 100, b"::::\n:\n0\n", b"0::/\x00/x\n", b" - \n - - -\n", b"x" * 100_000),
    *(b"a b c d e f - \n", b"1 2 3 4 5 - cgroup2 x y\n", b"1 2 3 / /\\777\\000 rw - cgroup2 x rw\n"),
]


@pytest.mark.parametrize("garbage", GARBAGE_QUOTAS)
def test_garbage_in_cpu_max(machine: Machine, garbage: str | bytes) -> None:
    """A quota that cannot be read bounds nothing."""
    machine.version_2("/a", {"a/cpu.max": garbage})
    assert machine.cores == 64.0


@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
@pytest.mark.parametrize("garbage", GARBAGE_IN_PROC)
def test_garbage_in_proc(machine: Machine, name: str, garbage: bytes) -> None:
    """Whatever stands in /proc/self/cgroup and mountinfo, nothing is raised."""
    machine.version_2("/a", {"a/cpu.max": "max 100000", "a/memory.max": "max"})
    machine.write({f"/proc/self/{name}": garbage})
    assert machine.cores == 64.0
    assert machine.memory == 64 * GIB


def test_files_that_are_directories(machine: Machine) -> None:
    """A directory where a file is expected bounds nothing."""
    for name in ("proc/self/cgroup", "proc/self/mountinfo", "proc/self/statm"):
        (machine.root / name).mkdir(parents=True)
    assert machine.cores == 64.0
    assert machine.memory == 64 * GIB
    assert host.resident_bytes(root=machine.root) == 0


def test_a_tiny_quota_is_still_one_core(machine: Machine) -> None:
    """A tenth of a core is .1 in bounds and 1 in workers."""
    machine.version_2("/", {"cpu.max": "10000 100000\n"})
    assert machine.cores == 0.1
    assert host.core_count(root=machine.root) == 1


@pytest.mark.parametrize(("text", "cores"), [("3", 3.0), ("1.5", 1.5), (" 2 ", 2.0), ("", 64.0), ("100", 64.0)])
def test_the_variable_lowers(machine: Machine, monkeypatch: pytest.MonkeyPatch, text: str, cores: float) -> None:
    """POOLWISE_CORES is one more upper bound; empty is unset."""
    monkeypatch.setenv(host.CORES_VARIABLE, text)
    assert machine.cores == cores


@pytest.mark.parametrize("text", ["four", "0", "-1", "nan", "inf", "1,5", "0x4"])
def test_the_variable_is_wrong(machine: Machine, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A value that is no number above 0 is a UsageError of one sentence that names variable and value."""
    monkeypatch.setenv(host.CORES_VARIABLE, text)
    with pytest.raises(UsageError, match=r"POOLWISE_CORES") as caught:
        host.core_count(root=machine.root)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


# --- other systems


def test_without_affinity_psutil_is_asked(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no sched_getaffinity; psutil knows the affinity."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setitem(sys.modules, "psutil", fake_psutil(cpu_affinity=lambda: [0, 1, 2]))
    assert machine.cores == 3.0


@pytest.mark.parametrize(("count", "cores"), [(10, 10.0), (None, 1.0)])
def test_without_any_affinity(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, count: int | None, cores: float
) -> None:
    """macOS has no affinity at all: the machine's cores, or 1 where even these are not known."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert machine.cores == cores


def test_affinity_that_fails(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may forbid the call."""
    monkeypatch.setattr(os, "sched_getaffinity", raise_os_error, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cores == 6.0


def test_without_psutil(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything answers where psutil cannot be imported and /proc is missing."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert machine.cores >= 1.0
    assert machine.memory == host.UNKNOWN_MEMORY_BYTES
    assert host.resident_bytes(root=machine.root) == 0


# --- memory


def test_memory_of_the_system(machine: Machine) -> None:
    """Without control groups it is what the system has available."""
    assert machine.memory == 64 * GIB


def test_meminfo_where_psutil_fails(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc/meminfo stands in for psutil, in KiB."""
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=raise_os_error))
    machine.write({"/proc/meminfo": "MemTotal:  9 kB\nMemAvailable:    1234 kB\n"})
    assert machine.memory == 1234 * 1024


@pytest.mark.parametrize("tightest", ["a/b", "a", "."])
def test_tightest_memory_limit_binds(machine: Machine, tightest: str) -> None:
    """Limit minus usage, the least over all groups above."""
    files: dict[str, str | bytes] = {}
    for group in ("a/b", "a", "."):
        files[f"{group}/memory.max"] = "5000\n" if group == tightest else "9000\n"
        files[f"{group}/memory.current"] = "2000\n"
    machine.version_2("/a/b", files)
    assert machine.memory == 3000


def test_idle_page_cache_counts_as_free(machine: Machine) -> None:
    """What files left in the cache is taken from the usage, never below zero."""
    machine.version_2(
        "/a",
        {"a/memory.max": "9000", "a/memory.current": "8000", "a/memory.stat": "anon 1\ninactive_file 6000\nfile 7\n"},
    )
    assert machine.memory == 7000
    machine.write({"/sys/fs/cgroup/a/memory.stat": "inactive_file 99999\n"})
    assert machine.memory == 9000


def test_usage_above_the_limit(machine: Machine) -> None:
    """A group over its limit has nothing left, not less than nothing."""
    machine.version_2("/a", {"a/memory.max": "1000", "a/memory.current": "5000"})
    assert machine.memory == 0


def test_version_1_memory(machine: Machine) -> None:
    """Version 1 names its files otherwise, and writes a huge number for no limit."""
    machine.write(
        {
            "/proc/self/cgroup": "4:memory:/pod/box\n",
            "/proc/self/mountinfo": "35 31 0:32 /pod /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            "/sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n",
            "/sys/fs/cgroup/memory/box/memory.usage_in_bytes": "100\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "10000\n",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes": "4000\n",
            "/sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
        }
    )
    assert machine.memory == 6500


@pytest.mark.parametrize("garbage", ["", "max", "lots", "-1", "9" * 5000, b"\xff\x00"])
@pytest.mark.parametrize("name", ["memory.max", "memory.current"])
def test_garbage_in_memory_files(machine: Machine, name: str, garbage: str | bytes) -> None:
    """A limit or a usage that cannot be read bounds nothing."""
    machine.version_2("/a", {"a/memory.max": "1000", "a/memory.current": "10", f"a/{name}": garbage})
    assert machine.memory == 64 * GIB


def test_garbage_in_memory_stat(machine: Machine) -> None:
    """Without a readable memory.stat the plain usage counts."""
    machine.version_2(
        "/a", {"a/memory.max": "1000", "a/memory.current": "10", "a/memory.stat": b"inactive_file\n\xff \xff\n"}
    )
    assert machine.memory == 990


# --- resident memory


def test_resident_pages(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second field of statm, in pages."""
    monkeypatch.setattr(os, "sysconf", lambda name: 4096, raising=False)
    machine.write({"/proc/self/statm": "9000 321 5 4 0 3 0\n"})
    assert host.resident_bytes(root=machine.root) == 321 * 4096


@pytest.mark.parametrize("content", [None, "", "12", "a b c", "5 -3", b"\xff \xff"])
def test_resident_by_psutil(machine: Machine, monkeypatch: pytest.MonkeyPatch, content: str | bytes | None) -> None:
    """Where statm is missing or garbage, psutil is asked."""
    memory_info = SimpleNamespace(rss=777)
    monkeypatch.setitem(sys.modules, "psutil", fake_psutil(memory_info=lambda: memory_info))
    if content is not None:
        machine.write({"/proc/self/statm": content})
    assert host.resident_bytes(root=machine.root) == 777


def test_without_sysconf(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no sysconf."""
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setitem(sys.modules, "psutil", fake_psutil(memory_info=lambda: SimpleNamespace(rss=778)))
    machine.write({"/proc/self/statm": "9000 321 5 4 0 3 0\n"})
    assert host.resident_bytes(root=machine.root) == 778


# --- the machine that runs the test


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real machine answers, whatever it is."""
    monkeypatch.delenv(host.CORES_VARIABLE, raising=False)
    assert 0 < host.usable_cores() <= (os.cpu_count() or 1)
    assert host.core_count() >= 1
    assert host.available_memory_bytes() > 0
    assert host.resident_bytes() > 1_000_000
    peak = host.peak_resident_bytes()
    assert peak is None or peak > 1_000_000


@pytest.mark.parametrize(("platform", "peak"), [("linux", 5 << 10), ("darwin", 5)])
def test_peak_of_resident_memory(monkeypatch: pytest.MonkeyPatch, platform: str, peak: int) -> None:
    """In kilobytes, but on macOS; None where the system does not say."""
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=5))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert host.peak_resident_bytes() == peak
    monkeypatch.setitem(sys.modules, "resource", None)
    assert host.peak_resident_bytes() is None


@pytest.mark.parametrize(
    ("peak", "memory", "resident"),
    [(1 << 20, None, 0), (1 << 40, None, 7), (None, None, 7), (1 << 20, 1 << 30, 7)],
    ids=["small", "large", "not known", "bounded"],
)
def test_resident_memory_is_read_where_it_may_matter(
    monkeypatch: pytest.MonkeyPatch, peak: int | None, memory: int | None, resident: int
) -> None:
    """A process that never held much fits everywhere; where memory is bounded its size counts."""
    monkeypatch.setattr(host, "peak_resident_bytes", lambda: peak)
    monkeypatch.setattr(host, "resident_bytes", lambda: 7)
    assert _resident_bytes(2.0, Limits(memory=memory)) == resident


def test_delayed_seconds(machine: Machine) -> None:
    """Of these threads together; one that has ended, or garbage, counts for nothing; None where nothing is known."""
    asked = [7, 8, 9, 10, 11]
    assert host.delayed_seconds(asked, root=machine.root) is None
    tasks = {"7": "365383 1500000000 2", "8": "1 1000000000 1\n", "9": "", "10": "garbage", "12": "1 7000000000 1"}
    machine.write({f"/proc/self/task/{thread}/schedstat": text for thread, text in tasks.items()})
    assert host.delayed_seconds(asked, root=machine.root) == 2.5


def test_core_seconds(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the cores that this process may use; a system that counts less, or garbage, is no error."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    lines = ["cpu  1 1 1 1 1 1 1 1", "cpu0 100 1 200 1000 50 3 4 25 7 7", "cpu1 9 9 9 9 9 9", "cpu2 10 0 0 0 7", "x"]
    machine.write({"/proc/stat": "\n".join(lines)})
    tick = os.sysconf("SC_CLK_TCK")
    assert host.core_seconds(root=machine.root) == host.CoreSeconds(1057 / tick, 318 / tick, 25 / tick)
    assert host.idle_seconds(root=machine.root) == 1057 / tick
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert host.core_seconds(root=machine.root) == host.CoreSeconds(2 / tick, 5 / tick, 1 / tick)
    machine.write({"/proc/stat": "\n".join(lines[1:])})
    assert host.core_seconds(root=machine.root) == host.CoreSeconds(1075 / tick, 354 / tick, 25 / tick)
    machine.write({"/proc/stat": "cpu0 1 2 x 4 5 6 7 8\n"})
    assert host.core_seconds(root=machine.root) is None
    assert host.idle_seconds(root=machine.root) is None


@pytest.mark.parametrize(("installed", "found"), [(True, host.CoreSeconds(3.0, 7.0, 0.0)), (False, None)])
def test_core_seconds_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, found: host.CoreSeconds | None
) -> None:
    """Where there is no /proc, psutil tells, without what was stolen."""
    cores = [SimpleNamespace(user=1.0, system=2.0, idle=3.0), SimpleNamespace(user=4.0, system=0.0, idle=0.0)]
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(cpu_times=lambda percpu: cores) if installed else None)
    assert host.core_seconds(root=tmp_path) == found


def test_throttled_seconds(machine: Machine) -> None:
    """Of the group that was held back longest, in either version's unit; 0 where nothing is known."""
    assert host.throttled_seconds(root=machine.root) == 0.0
    machine.version_2("/a/b", {"a/cpu.stat": "usage_usec 9\nthrottled_usec 2500000\n", "a/b/cpu.stat": "garbage\n"})
    assert host.throttled_seconds(root=machine.root) == 2.5
    machine.write(
        {
            "/proc/self/cgroup": "3:cpu,cpuacct:/x\n",
            "/proc/self/mountinfo": "31 23 0:28 / /cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n",
            "/cpu/x/cpu.stat": "nr_throttled 4\nthrottled_time 1500000000\n",
        }
    )
    assert host.throttled_seconds(root=machine.root) == 1.5


def test_where_waits_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux nobody tells how often a thread has waited."""
    if (count := host.switch_counter()) is not None:
        assert count() >= 0
    monkeypatch.setitem(sys.modules, "resource", None)
    assert host.switch_counter() is None


def test_switches_of_a_thread_are_read(tmp_path: Path) -> None:
    """From the system where it tells them, else they are not known."""
    folder = tmp_path / "proc/self/task/7"
    folder.mkdir(parents=True)
    (folder / "status").write_text("Name:\tx\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t5\n")
    assert host.switches_of(7, root=tmp_path) == 42
    assert host.switches_of(8, root=tmp_path) is None
    (folder / "status").write_text("Name:\tx\n")
    assert host.switches_of(7, root=tmp_path) is None
