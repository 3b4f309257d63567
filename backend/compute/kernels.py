"""How kernels are compiled, and how their work is shared between the cores."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import torch
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., object])

# Rounding may differ from the order that is written, but NaN and infinity keep their meaning.
FAST_MATH_FLAGS = {"reassoc", "contract", "arcp", "afn", "nsz"}


def _hash_sources() -> str:
    """A hash of the source files of the packages that hold kernels."""
    digest = hashlib.sha256()
    backend = Path(__file__).parents[1]
    for package in ("compute", "rasterizer"):
        for path in sorted((backend / package).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCE_HASH = _hash_sources()


class _KernelCache(FunctionCache):
    """numba's cache of machine code on disk, which knows a function's own file, but not what it calls and includes."""

    def _index_key(self, signature: Any, code_generator: Any) -> tuple[Any, ...]:
        return *super()._index_key(signature, code_generator), _SOURCE_HASH  # type: ignore[no-untyped-call]

    def save_overload(self, signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk: compile again next time
            super().save_overload(signature, data)  # type: ignore[no-untyped-call]


def kernel(function: Function) -> Function:
    """Compile `function` at its first call, without the interpreter's lock, and keep the machine code on disk.

    numba keeps it beside the source, or, where that is read-only, in the user's cache folder. Where neither can be
    written the kernel is compiled anew in each process.
    """
    compiled: Any = numba.njit(nogil=True, fastmath=FAST_MATH_FLAGS, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # numba: "no locator available"
        compiled._cache = _KernelCache(function)  # type: ignore[no-untyped-call]
    return cast(Function, compiled)


_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


def parallel_for(task: Callable[[int], object], task_count: int) -> None:
    """Run task(0) … task(count - 1) on this thread and its helpers, as many as torch uses.

    Whoever is free takes the next: on a machine that does other work too, no core waits for a slower one. (OpenMP,
    which numba's own parallel loops use, splits evenly, and its threads spin on the cores that torch's threads want.)
    """
    helpers = min(torch.get_num_threads(), task_count) - 1
    if helpers < 1:
        for index in range(task_count):
            task(index)
        return
    tickets = itertools.count()

    def work() -> None:
        for index in iter(tickets.__next__, task_count):
            if index > task_count:  # another thread drew the last one
                return
            task(index)

    if helpers not in _pools:
        _pools[helpers] = ThreadPoolExecutor(helpers, thread_name_prefix="rasterizer")
    others = [_pools[helpers].submit(work) for _ in range(helpers)]
    work()
    for other in others:
        other.result()
