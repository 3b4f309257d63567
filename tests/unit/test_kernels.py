"""Compiled kernels: what they compute, and their cache when disk, folder or sources change."""

from __future__ import annotations

from pathlib import Path

import numba
import numba.core.caching
import numba.core.registry
import pytest

from backend.compute.kernels import hash_sources, kernel
from backend.rasterizer.cpu_bin import sort_by_depth


def test_kernel_runs_without_a_writable_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])

    def twice(value: float) -> float:
        return 2 * value

    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(twice)
    assert kernel(twice)(1.5) == 3.0


def test_kernel_runs_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", raise_disk_full)

    def thrice(value: float) -> float:
        return 3 * value

    assert kernel(thrice)(1.5) == 4.5


def test_exact_kernel_raises_on_division_by_zero() -> None:
    def reciprocal(value: float) -> float:
        return 1 / value

    assert kernel(reciprocal)(0.0) == float("inf")
    with pytest.raises(ZeroDivisionError):
        kernel(exact=True)(reciprocal)(0.0)


def test_source_hash_changes_with_any_file_of_the_folder(tmp_path: Path) -> None:
    """Numba compares only the file of the function; a kernel's constants and helpers lie in others too."""
    (tmp_path / "helper.py").write_text("SCALE = 1\n")
    before = hash_sources(tmp_path)
    (tmp_path / "helper.py").write_text("SCALE = 2\n")
    hash_sources.cache_clear()
    assert hash_sources(tmp_path) != before


def test_cache_key_changes_with_the_source_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def cache_key(source_hash: str) -> object:
        monkeypatch.setattr("backend.compute.kernels.hash_sources", lambda folder: source_hash)
        code_generator = numba.core.registry.cpu_target.target_context.codegen()
        return sort_by_depth._cache._index_key((), code_generator)  # type: ignore[attr-defined]

    assert cache_key("one") == cache_key("one")
    assert cache_key("one") != cache_key("another")
