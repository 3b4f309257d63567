"""The cache of compiled kernels: what a disk, a folder or a changed source may do to it."""

from __future__ import annotations

import numba
import numba.core.caching
import numba.core.registry
import pytest

from backend.compute.kernels import kernel
from backend.rasterizer.cpu_bin import sort_by_depth


def test_kernels_work_where_no_cache_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])

    def twice(value: float) -> float:
        return 2 * value

    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(twice)
    assert kernel(twice)(1.5) == 3.0


def test_a_full_disk_costs_only_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)

    def thrice(value: float) -> float:
        return 3 * value

    assert kernel(thrice)(1.5) == 4.5


def test_machine_code_is_compiled_again_when_a_source_of_the_room_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that numba does not look at: a kernel's constants and helpers lie in other files."""

    def key(sources: str) -> object:
        monkeypatch.setattr("backend.compute.kernels._SOURCE_HASH", sources)
        code_generator = numba.core.registry.cpu_target.target_context.codegen()
        return sort_by_depth._cache._index_key((), code_generator)  # type: ignore[attr-defined]

    assert key("one") == key("one")
    assert key("one") != key("another")
