"""How numba kernels are compiled and cached, and how their work is shared between the cores."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numba
import torch
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., object])

# LLVM may reorder, fuse and approximate operations, but NaN and infinity keep their meaning.
FAST_MATH_FLAGS = {"reassoc", "contract", "arcp", "afn", "nsz"}
FAST_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": FAST_MATH_FLAGS, "error_model": "numpy"}
EXACT_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "python"}

SHARED_SOURCE_FOLDERS = ("compute", "rasterizer")  # packages whose constants and helpers kernels elsewhere use


@lru_cache
def hash_sources(folder: Path) -> str:
    """Return a hash of the source files in `folder` and in `SHARED_SOURCE_FOLDERS`."""
    digest = hashlib.sha256()
    backend = Path(__file__).parents[1]
    for package in (folder, *(backend / name for name in SHARED_SOURCE_FOLDERS)):
        for path in sorted(package.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class _KernelCache(FunctionCache):
    """Numba's cache of machine code on disk, keyed also by the options and by the files of constants and helpers.

    Numba itself compares only the file of the function.
    """

    def __init__(self, function: Callable[..., object], options: dict[str, Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._options = repr(sorted((k, sorted(v) if isinstance(v, set) else v) for k, v in options.items()))

    def _index_key(self, signature: Any, code_generator: Any) -> tuple[Any, ...]:
        key = super()._index_key(signature, code_generator)  # type: ignore[no-untyped-call]
        return *key, self._options, hash_sources(Path(self._py_func.__code__.co_filename).parent)

    def save_overload(self, signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk: compile again next time
            super().save_overload(signature, data)  # type: ignore[no-untyped-call]


@overload
def kernel(function: Function) -> Function: ...


@overload
def kernel(*, exact: bool = ..., **options: Any) -> Callable[[Function], Function]: ...


def kernel(function: Any = None, *, exact: bool = False, **options: Any) -> Any:
    """Compile a function at its first call, run it without the interpreter's lock and cache the machine code on disk.

    Numba writes the cache beside the source or, if that is read-only, to the user's cache folder. If neither can be
    written, each process compiles the kernel again.

    Args:
        function: the function, for use without arguments: ``@kernel``.
        exact: compute in the written order and raise ZeroDivisionError, as Python does. Otherwise the order of
            operations may change, and a division by zero gives infinity.
        options: further options of `numba.njit`.

    Returns:
        The compiled function, or a decorator if `function` is None.
    """
    if function is None:
        return lambda decorated: _compile(decorated, exact, options)
    return _compile(function, exact, options)


def _compile(function: Function, exact: bool, options: dict[str, Any]) -> Function:
    """Compile a function as `kernel` describes it."""
    options = (EXACT_OPTIONS if exact else FAST_OPTIONS) | options
    compiled: Any = numba.njit(**options)(function)
    with contextlib.suppress(RuntimeError):  # numba: "no locator available"
        compiled._cache = _KernelCache(function, options)
    return cast(Function, compiled)


_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


def parallel_for(task: Callable[[int], object], task_count: int) -> None:
    """Run task(0) … task(task_count - 1) on this thread and on helper threads, together as many as torch uses.

    A thread that finishes takes the next task, so no core waits for a slower one on a machine that does other work too.
    (OpenMP, which numba's parallel loops use, splits evenly, and its threads spin on the cores that torch's threads
    need.)
    """
    helper_count = min(torch.get_num_threads(), task_count) - 1
    if helper_count < 1:
        for index in range(task_count):
            task(index)
        return
    tickets = itertools.count()

    def run_tasks() -> None:
        for index in iter(tickets.__next__, task_count):
            if index > task_count:  # another thread drew the last one
                return
            task(index)

    if helper_count not in _pools:
        _pools[helper_count] = ThreadPoolExecutor(helper_count, thread_name_prefix="kernel")
    helpers = [_pools[helper_count].submit(run_tasks) for _ in range(helper_count)]
    run_tasks()
    for helper in helpers:
        helper.result()
