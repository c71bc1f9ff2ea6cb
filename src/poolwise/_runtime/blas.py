"""Limiting the native threads (BLAS, OpenMP) that each lane may use, so that lanes x native threads = cores."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_LIBRARIES = ("numpy", "scipy", "torch", "sklearn", "mkl", "numexpr", "cv2")
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def limit_by_environment(threads: int) -> None:
    """Limit what is loaded later, by its environment variables; a lower number that the user set stays."""
    for variable in _VARIABLES:
        current = os.environ.get(variable, "")
        if not (current.isdecimal() and 0 < int(current) <= threads):
            os.environ[variable] = str(threads)


def limit(threads: int) -> Any:
    """Limit the libraries that are loaded now.

    Returns:
        What `threadpoolctl.threadpool_limits` returns, to restore the former limits; None where none is loaded.
    """
    if not any(name in sys.modules for name in _LIBRARIES):
        return None
    import threadpoolctl

    return threadpoolctl.threadpool_limits(limits=threads)


class SharedLimit:
    """A limit on the calling process while runs on its threads last; the former one returns after the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._former: Any = None

    def hold(self, threads: int) -> None:
        """Apply the limit; call `release` once for each `hold`."""
        with self._lock:
            self._holders += 1
            if self._former is None:
                self._former = limit(threads)

    def again(self, threads: int) -> None:
        """Apply it to libraries that an item has loaded meanwhile."""
        with self._lock:
            if self._former is None and self._holders:
                self._former = limit(threads)

    def release(self) -> None:
        """Give the limit up."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and self._former is not None:
                self._former.restore_original_limits()
                self._former = None


calling_process = SharedLimit()
