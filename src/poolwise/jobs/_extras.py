"""Packages that a job needs and poolwise does not."""

from __future__ import annotations

import importlib

from poolwise import BackendUnavailable


def require(module: str, extra: str, what: str) -> None:
    """Check that a module can be imported.

    Args:
        module: its name.
        extra: of poolwise, which brings it.
        what: needs it, such as "the fetch job needs pycurl".

    Raises:
        BackendUnavailable: it cannot.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise BackendUnavailable(
            f"{what}, which cannot be imported ({error}): pip install 'poolwise[{extra}]'"
        ) from error
