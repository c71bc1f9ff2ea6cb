"""MODULE:FUNCTION: from what the user writes to a function that any worker can find again."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from poolwise.cli.terminal import CommandError, shorten, suggestion

HOW = "write MODULE:FUNCTION, such as math:sqrt or my_file.py:fetch"


def load_function(text: str) -> Callable[..., Any]:
    """Import what `MODULE:FUNCTION` names, with the current folder importable, as under `python -m`.

    The function may be dotted (`module:Class.method`); the module may be a path (`folder/file.py:function`).

    Raises:
        CommandError: where there is no such thing, or it cannot be called.
    """
    module_name, colon, path = text.rpartition(":")
    if not colon or not module_name or not path:
        hint = HOW
        if not colon and "." in text.strip(".") and not text.endswith(".py"):
            hint = f"did you mean '{':'.join(text.rsplit('.', 1))}'?"
        raise CommandError(f"{text!r} does not name a function", hint=hint)
    _make_importable(os.getcwd())
    module = _import_file(module_name) if module_name.endswith(".py") else _import(module_name)
    target: Any = module
    found = module.__name__
    for name in path.split("."):
        try:
            target = getattr(target, name)
        except AttributeError:
            # A private name is offered only to who asked for one.
            known = (each for each in dir(target) if name.startswith("_") or not each.startswith("_"))
            raise CommandError(f"{found} has no {name!r}", hint=suggestion(name, known)) from None
        found += f".{name}"
    if not callable(target):
        raise CommandError(f"{text!r} is not a function but {_with_article(type(target).__name__)}")
    return target  # type: ignore[no-any-return]


def spread(fn: Callable[..., Any]) -> Callable[[Any], Any]:
    """Make a function of one item that spreads lists over positional and dicts over keyword arguments of `fn`."""
    call = getattr(fn, "__call__", fn)  # noqa: B004
    asynchronous = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call)
    return _AsyncSpread(fn) if asynchronous else _Spread(fn)


class _Spread:
    """See `spread`; a class, so that it can be sent to workers by name."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, item: Any) -> Any:
        if isinstance(item, list):
            return self.fn(*item)
        if isinstance(item, dict):
            return self.fn(**item)
        raise TypeError(f"--starred spreads lists and objects; this item is {_with_article(type(item).__name__)}")


class _AsyncSpread(_Spread):
    async def __call__(self, item: Any) -> Any:
        return await super().__call__(item)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def _make_importable(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _import_failed(name, error) from error
        raise CommandError(f"there is no module {name!r}", hint=_module_hint(name, error.name)) from error
    except KeyboardInterrupt:
        raise
    except (TypeError, ValueError) as error:
        if name.startswith(".") or not name.strip("."):
            raise CommandError(f"{name!r} is not the name of a module", hint=HOW) from error
        raise _import_failed(name, error) from error
    except BaseException as error:
        raise _import_failed(name, error) from error


def _import_file(path: str) -> Any:
    """Import a file as the module of its name, from its folder, which is where workers will find it too."""
    folder, base = os.path.split(os.path.abspath(path))
    name = base.removesuffix(".py")
    if not os.path.isfile(path):
        known = os.listdir(folder) if os.path.isdir(folder) else []
        raise CommandError(f"there is no file {path!r}", hint=suggestion(base, known))
    if "." in name:
        raise CommandError(f"{base!r} cannot be imported: the name of a module holds no dot", hint="rename the file")
    while folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    module = _import(name)
    file = getattr(module, "__file__", None)
    if file is None or not os.path.samefile(file, path):
        raise CommandError(f"{path!r} is hidden by another module {name!r}", hint="rename the file")
    return module


def _import_failed(name: str, error: BaseException) -> CommandError:
    if isinstance(error, SystemExit):
        return CommandError(
            f"{name} ends the program when it is imported (exit code {error.code})",
            hint='put what a script does under: if __name__ == "__main__":',
        )
    file, line, message = _place(error)
    where = f" ({file}, line {line})" if file else ""
    return CommandError(f"importing {name} fails: {type(error).__name__}: {shorten(message)}{where}")


def _place(error: BaseException) -> tuple[str, int, str]:
    """Say in which file and line of the user's an import failed, and how."""
    import traceback

    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0, error.msg
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    return (frames[-1].filename, frames[-1].lineno or 0, str(error)) if frames else ("", 0, str(error))


def _module_hint(name: str, missing: str) -> str:
    import pkgutil

    if os.path.isfile(f"{name}.py"):
        return f"did you mean '{name}.py'?"
    parent, _, last = missing.rpartition(".")
    if not parent:
        known = {found.name for found in pkgutil.iter_modules()} | sys.stdlib_module_names
        return suggestion(last, known) or f"modules are looked for in {os.getcwd()} and where Python finds them"
    package = sys.modules.get(parent)
    if hasattr(package, last):
        return f"did you mean '{parent}:{last}'?"
    return suggestion(last, {found.name for found in pkgutil.iter_modules(getattr(package, "__path__", ()))})
