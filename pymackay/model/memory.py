"""`free_memory`: the bytes that this process can still take, by machine, container and limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_ROOT = Path("/")  # of the file system in which the kernel tells its numbers
_UNKNOWN = 8.0 * 2**30  # bytes, where nothing says how much memory there is


def free_memory() -> float:
    """Return the bytes of memory that this process can still take.

    The least of what the machine has available, what the control groups of a container leave
    (versions 1 and 2, all the way up), and what ``ulimit -v`` leaves.
    """
    return min([_on_machine(), *_in_control_groups(), *_under_address_limit()])


def _on_machine() -> float:
    """Return the memory available on the machine; what is installed where that is unknown."""
    available = _fields(_ROOT / "proc/meminfo").get("MemAvailable:")
    if available is not None:
        return 1024.0 * available
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _in_control_groups() -> Iterator[float]:
    """Yield limit less use of each control group that this process is in."""
    mount = _ROOT / "sys/fs/cgroup"
    for line in _text(_ROOT / "proc/self/cgroup").splitlines():
        number, controllers, group = line.split(":", 2)
        if number == "0" and not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            bases = [mount, mount / "unified"]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            bases = [mount / "memory"]
        else:
            continue
        inside = PurePosixPath(group.lstrip("/"))
        for base in bases:
            for folder in {base, *(base / part for part in (inside, *inside.parents))}:
                yield from _left_in(folder, *names)


def _left_in(folder: Path, limit: str, use: str, cache: str) -> Iterator[float]:
    """Yield what one group's limit leaves, if it has one; files in the cache count as free."""
    most, used = _text(folder / limit).strip(), _text(folder / use).strip()
    if most.isdigit() and used.isdigit():
        reclaimable = _fields(folder / "memory.stat").get(cache, 0.0)
        yield max(float(most) - float(used) + reclaimable, 0.0)


def _under_address_limit() -> Iterator[float]:
    """Yield what the limit of the address space (RLIMIT_AS) leaves, if there is one."""
    if resource is None or not hasattr(resource, "RLIMIT_AS"):
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    pages = _text(_ROOT / "proc/self/statm").split()
    used = float(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else 0.0
    yield max(float(limit) - used, 0.0)


def _text(path: Path) -> str:
    """Return what a file holds; nothing if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _fields(path: Path) -> dict[str, float]:
    """Return the numbers of a file with a name and a number on each line."""
    pairs = (line.split()[:2] for line in _text(path).splitlines())
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
