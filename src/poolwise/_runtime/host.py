"""What this machine lets us use: cores, memory, and how much of it this process holds.

Every reading is taken anew (a limit may change in a long run) and none ever raises because of what the operating
system answers: what is missing or unreadable (macOS and Windows have neither /proc nor cgroups) bounds nothing. Only
an environment variable that the user set wrongly is an error. How many workers to start from that is `_policy`'s.

Every function takes `root`, the directory that holds `proc` and the control groups' mount points: tests give it a
tree of their own.
"""

from __future__ import annotations

import math
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from poolwise import __version__
from poolwise._core.errors import UsageError

CORES_VARIABLE = "POOLWISE_CORES"

# Assumed where the system tells nothing at all: a run must go on, and a too small buffer is slow, not wrong.
UNKNOWN_MEMORY_BYTES = 1 << 30

# A number with more digits than this is garbage (2**64 has 20), and int() of it could take long.
_MOST_DIGITS = 24
_MOST_READ = 1 << 16


def usable_cores(*, root: str | os.PathLike[str] = "/") -> float:
    """Return how many cores this process may keep busy, as a fraction where a quota is one.

    The least of: the CPU affinity (which contains the cpuset), the tightest CPU quota of this process's control group
    and all groups above it (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`), and the environment variable POOLWISE_CORES.
    `os.process_cpu_count` knows the first of these only.

    Args:
        root: the directory that holds `proc` and the mount points.

    Returns:
        Cores, above 0: a container with `--cpus 1.5` has 1.5.

    Raises:
        UsageError: where POOLWISE_CORES is not a number above 0.
    """
    return min(_core_bounds(root))[0]


def _core_bounds(root: str | os.PathLike[str]) -> Iterator[tuple[float, str]]:
    """Yield each bound on the usable cores, and what sets it."""
    mine = affinity_cores()
    yield float(mine), "the machine" if mine >= (os.cpu_count() or 1) else "the CPU affinity of the process"
    for quota in _cpu_quotas(root):
        yield quota, "the CPU quota of a control group"
    wanted = _cores_wanted()
    if wanted is not None:
        yield wanted, f"the environment variable {CORES_VARIABLE}"


def facts(*, root: str | os.PathLike[str] = "/") -> dict[str, Any]:
    """Return what a report tells of the machine and the interpreter, by name, as values that JSON can hold.

    Args:
        root: the directory that holds `proc` and the mount points.

    Raises:
        UsageError: where POOLWISE_CORES is not a number above 0.
    """
    import platform

    cores, source = min(_core_bounds(root))
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}{' free-threaded' if free else ''}",
        "system": f"{platform.system()} {platform.release()}".strip(),
        "machine": platform.machine(),
        "cores": cores,
        "cores_bound_by": source,
        "cores_of_machine": os.cpu_count() or 1,
        "available_memory_bytes": available_memory_bytes(root=root),
        "poolwise": __version__,
    }


def core_count(*, root: str | os.PathLike[str] = "/") -> int:
    """Return `usable_cores` rounded up, at least 1: how many workers or lanes can be busy at once.

    Args:
        root: the directory that holds `proc` and the mount points.

    Raises:
        UsageError: where POOLWISE_CORES is not a number above 0.
    """
    return max(1, math.ceil(usable_cores(root=root)))


def available_memory_bytes(*, root: str | os.PathLike[str] = "/") -> int:
    """Return how many bytes can be allocated before something swaps or is killed.

    The least of what the system has available and what every control group from this process's up still allows.
    Page cache that was not used lately counts as free, as kubelet counts it (working set = usage - inactive_file):
    otherwise reading many files would look like running out of memory.

    Args:
        root: the directory that holds `proc` and the mount points.

    Returns:
        Bytes, 0 or more.
    """
    return min([_memory_of_system(root), *_memory_left_in_cgroups(root)])


def open_files_limit() -> int | None:
    """Return how many files and sockets this process may have open; None where nothing says so."""
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, AttributeError, OSError, ValueError):  # Windows; a sandbox
        return None
    return soft if soft > 0 else None  # RLIM_INFINITY is -1 or huge


def resident_bytes(*, root: str | os.PathLike[str] = "/") -> int:
    """Return how many bytes of physical memory this process holds; 0 where that is not known.

    Costs microseconds on Linux, so that a worker can tell it with every batch.

    Args:
        root: the directory that holds `proc`.
    """
    fields = _read(os.path.join(root, "proc/self/statm"), one_line=True).split()
    pages = _whole(fields[1]) if len(fields) > 1 else None
    if pages:
        try:
            return pages * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            pass
    try:
        import psutil

        return int(psutil.Process().memory_info().rss)
    except Exception:  # psutil raises what the platform does, NotImplementedError and ImportError among it
        return 0


def peak_resident_bytes() -> int | None:
    """Return the most bytes of physical memory that this process ever held; None where nothing says so.

    One system call, where `resident_bytes` reads a file: what is below this needs no closer look.
    """
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    except (ImportError, AttributeError, OSError):  # Windows; a sandbox
        return None
    return peak if sys.platform == "darwin" else peak * 1024  # getrusage(2): kilobytes, but on macOS


class CoreSeconds(NamedTuple):
    """What the cores that this process may use have done since the system began; only differences have a meaning.

    Attributes:
        idle: core-seconds in which nothing wanted to run.
        busy: in which something ran.
        stolen: in which something wanted to run, while the host of this virtual machine ran something else.
    """

    idle: float
    busy: float
    stolen: float


def core_seconds(*, root: str | os.PathLike[str] = "/") -> CoreSeconds | None:
    """Return for how long the cores that this process may use were idle, busy, and not there.

    Whatever uses a core counts as use: other processes are part of the picture. A control group's quota does not make
    a core busy.

    Args:
        root: the directory that holds `proc`.

    Returns:
        Seconds, in steps of 10 ms on Linux; None where not known. Linux alone tells what was stolen (`proc(5)`).
    """
    try:
        mine: set[int] | None = os.sched_getaffinity(0)
    except (AttributeError, OSError, NotImplementedError):
        mine = None
    text = _read(os.path.join(root, "proc/stat"))
    if text:
        idle = busy = stolen = 0
        # The first line has the sums of all, which is soon read where there are hundreds.
        whole = text.startswith("cpu ") and (mine is None or text.count("\ncpu") <= len(mine))
        for line in text.splitlines()[: 1 if whole else None]:
            if not line.startswith("cpu"):
                break  # Those of the cores come first.
            name, *fields = line.split()
            core = _whole(name[3:])
            if len(fields) > 4 and (whole or (core is not None and (mine is None or core in mine))):
                try:
                    user, nice, system, unused, disk, *others = map(int, fields[:8])
                except ValueError:
                    return None
                idle += unused + disk
                busy += user + nice + system + sum(others[:2])  # With irq and softirq.
                stolen += sum(others[2:])
        try:
            tick = os.sysconf("SC_CLK_TCK")
        except (AttributeError, OSError, ValueError):
            return None
        return CoreSeconds(idle / tick, busy / tick, stolen / tick)
    try:
        import psutil

        cores = psutil.cpu_times(percpu=True)
        return CoreSeconds(sum(core.idle for core in cores), sum(core.user + core.system for core in cores), 0.0)
    except Exception:  # Not installed, or broken here.
        return None


def idle_seconds(*, root: str | os.PathLike[str] = "/") -> float | None:
    """Return the idle ones of `core_seconds`, or None where they are not known."""
    seconds = core_seconds(root=root)
    return None if seconds is None else seconds.idle


def delayed_seconds(threads: Sequence[int], *, root: str | os.PathLike[str] = "/") -> float | None:
    """Return for how long these threads of this process were ready to run, and stood in line for a core.

    Args:
        threads: their native numbers.
        root: the directory that holds `proc`.

    Returns:
        Seconds, of all of them together; only differences have a meaning. None where not known: Linux tells it
        (`/proc/PID/task/TID/schedstat`, second field, nanoseconds).
    """
    folder = os.path.join(root, "proc/self/task")
    fields = [_read(f"{folder}/{thread}/schedstat", one_line=True).split() for thread in threads]
    told = [count for each in fields if len(each) > 1 and (count := _whole(each[1])) is not None]  # Others have ended.
    return sum(told) / 1e9 if told else None


def switch_counter() -> Callable[[], int] | None:
    """Return what counts how often the calling thread has waited, where the system can tell (Linux)."""
    try:
        import resource

        who = resource.RUSAGE_THREAD
    except (ImportError, AttributeError):
        return None
    usage = resource.getrusage
    return lambda: usage(who).ru_nvcsw


def switches_of(thread: int, *, root: str | os.PathLike[str] = "/") -> int | None:
    """Return how often a thread of this process has waited for something, where the system can tell (Linux).

    Args:
        thread: its native number.
        root: the directory that holds `proc`.
    """
    try:
        with open(os.path.join(root, f"proc/self/task/{thread}/status"), encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def throttled_seconds(*, root: str | os.PathLike[str] = "/") -> float:
    """Return for how long CPU quotas have held processes of this one's control groups back; 0 where none is known.

    Args:
        root: the directory that holds `proc` and the mount points.

    Returns:
        Seconds since the group was made, of the group that was held back longest; only differences have a meaning.
    """
    longest = 0.0
    for version, directory in _cgroup_directories("cpu", root):
        field, unit = ("throttled_usec", 1e-6) if version == 2 else ("throttled_time", 1e-9)
        count = _field(_read(os.path.join(directory, "cpu.stat")), field)
        longest = max(longest, (count or 0) * unit)
    return longest


_NETWORK_SYSTEMS = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs", "webdav",
}  # fmt: skip


def network_file_system(path: str) -> str | None:
    """Return the kind of the network file system that a path is on, or None where it is on none that is known.

    Args:
        path: of a file, which need not be there.
    """
    try:
        import psutil

        mounts = {mount.mountpoint: mount.fstype.lower() for mount in psutil.disk_partitions(all=True)}
    except Exception:  # psutil raises what the platform does
        return None
    place = os.path.realpath(path)
    while place not in mounts:
        above = os.path.dirname(place)
        if above == place:
            return None
        place = above
    return mounts[place] if mounts[place] in _NETWORK_SYSTEMS else None


def affinity_cores() -> int:
    """Return how many cores this process may run on, whatever a quota says: those that `idle_seconds` looks at."""
    try:
        return len(os.sched_getaffinity(0)) or 1
    except (AttributeError, OSError, NotImplementedError):
        pass
    try:
        import psutil

        return len(psutil.Process().cpu_affinity() or ()) or 1  # Windows and FreeBSD
    except Exception:  # macOS has no affinity; psutil may be unable to ask
        return os.cpu_count() or 1


def _cores_wanted() -> float | None:
    text = os.environ.get(CORES_VARIABLE, "").strip()
    if not text:
        return None
    try:
        cores = float(text)
    except ValueError:
        cores = math.nan
    if not (math.isfinite(cores) and cores > 0):
        raise UsageError(
            f"the environment variable {CORES_VARIABLE} is {text!r}; it must be a number above 0, such as 4 or 1.5"
        )
    return cores


def _cpu_quotas(root: str | os.PathLike[str]) -> Iterator[float]:
    for version, directory in _cgroup_directories("cpu", root):
        if version == 2:
            quota_text, _, period_text = _read(os.path.join(directory, "cpu.max")).partition(" ")
        else:
            quota_text = _read(os.path.join(directory, "cpu.cfs_quota_us"))
            period_text = _read(os.path.join(directory, "cpu.cfs_period_us"))
        quota, period = _whole(quota_text), _whole(period_text)
        if quota and period:  # "max" and -1 are no numbers to _whole: no quota
            yield quota / period


_MEMORY_FILES = {  # version: limit, usage, and the field of memory.stat that can be reclaimed, descendants included
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def _memory_left_in_cgroups(root: str | os.PathLike[str]) -> Iterator[int]:
    for version, directory in _cgroup_directories("memory", root):
        limit_file, usage_file, field = _MEMORY_FILES[version]
        limit = _whole(_read(os.path.join(directory, limit_file)))
        usage = _whole(_read(os.path.join(directory, usage_file)))
        if limit is not None and usage is not None:
            idle_cache = _field(_read(os.path.join(directory, "memory.stat")), field) or 0
            yield max(0, limit - max(0, usage - idle_cache))


def _memory_of_system(root: str | os.PathLike[str]) -> int:
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except Exception:  # as in resident_bytes
        kibibytes = _field(_read(os.path.join(root, "proc/meminfo")), "MemAvailable:")
        return kibibytes * 1024 if kibibytes else UNKNOWN_MEMORY_BYTES


def _cgroup_directories(controller: str, root: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (cgroup version, directory) of this process's group and of each above it, as far as they can be seen.

    A machine may mount both versions with the controllers divided between them, so all that match are walked.
    """
    groups = _cgroups_of_process(controller, root)
    for line in _read(os.path.join(root, "proc/self/mountinfo")).splitlines():
        if " - cgroup" not in line:  # There may be hundreds of others.
            continue
        # "31 23 0:28 ROOT MOUNTPOINT options [optional fields] - TYPE source super-options", see proc(5)
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            version = 2
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            version = 1
        else:
            continue
        if version in groups:
            mount_point = os.path.join(root, _unescaped(fields[4]).lstrip("/"))
            names = _names_below(_unescaped(fields[3]), groups[version])
            for depth in range(len(names), -1, -1):
                yield version, os.path.join(mount_point, *names[:depth])


def _cgroups_of_process(controller: str, root: str | os.PathLike[str]) -> dict[int, str]:
    groups = {}
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if not separator:
            continue
        if hierarchy == "0" and not controllers:
            groups[2] = path
        elif controller in controllers.split(","):
            groups[1] = path
    return groups


def _names_below(mount_root: str, path: str) -> list[str]:
    """Return the directories that lead from a mount point, which shows `mount_root`, to the group `path`.

    Both paths are relative to the root of the reader's cgroup namespace and start with "/.." where they lie outside
    it. Where `path` is not below `mount_root`, or is but the names between cannot be known, the mount point itself is
    the nearest group in sight and the answer is empty: inside a container it is the container's.
    """
    mount_ups, mount_names = _split(mount_root)
    ups, names = _split(path)
    if ups != mount_ups or names[: len(mount_names)] != mount_names or ".." in names:
        return []
    return names[len(mount_names) :]


def _split(path: str) -> tuple[int, list[str]]:
    """Split "/../../a/b" into how often it goes up, and the names it then goes down."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    ups = 0
    while ups < len(names) and names[ups] == "..":
        ups += 1
    return ups, names[ups:]


def _unescaped(text: str) -> str:
    """Undo the octal escapes of mountinfo (a space is written \\040)."""
    if "\\" not in text:  # To compile the expression takes a while.
        return text
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _field(text: str, name: str) -> int | None:
    """Return the number behind a name in lines of "name number ..."."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == name:
            return _whole(fields[1])
    return None


def _whole(text: str) -> int | None:
    """Read a whole number of 0 or more; None for anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _read(path: str, *, one_line: bool = False) -> str:
    """Return the text of a file, or "" where it cannot be had. One of a line needs not be asked if there is more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))  # Half as long as a file object takes.
        try:
            text = part = os.read(descriptor, _MOST_READ)
            while part and not (one_line and part.endswith(b"\n")):
                part = os.read(descriptor, _MOST_READ)
                text += part
        finally:
            os.close(descriptor)
        return os.fsdecode(text)
    except (OSError, ValueError):  # ValueError: a path out of a broken file may hold NUL
        return ""
