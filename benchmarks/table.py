"""Runs the benchmarks, prints a table and writes one flat JSON object.

    python -m benchmarks.table [NAME …] [--json FILE]

A benchmark is a module of this package with ``run() -> dict[str, float]``; on the command line its name may have dashes
for underscores. The figures' names are dotted and end in their unit (``cpu.256.forward_ms``). They get the module's
name as prefix unless they begin with it or with one of the module's ``PREFIXES``. Keep the names: results are compared
by them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backend.contract.errors import UserError
from backend.setup.device import configure_native_threads

Figures = dict[str, float]  # value by full name
UNITS_BY_SUFFIX = {
    "_ms": "ms", "_s": "s", "_seconds": "s", "_fps": "frames/s", "_mb": "MB", "_db": "dB", "_deg": "°", "_px": "px",
    "_mm": "mm", "_percent": "%",
}  # fmt: skip


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks."""
    package = Path(__file__).parent
    return sorted(
        m.name for m in pkgutil.iter_modules([str(package)]) if m.name != "table" and not m.name.startswith("_")
    )


def run_benchmark(name: str, run: Callable[[], Mapping[str, float]], prefixes: Sequence[str] = ()) -> Figures:
    """Run one benchmark and return its figures under their full names.

    Args:
        name: of the benchmark.
        run: its function.
        prefixes: first parts of names that are full already, besides the benchmark's own.

    Raises:
        ValueError: a figure is not a finite number.
    """
    figures = {}
    for key, value in run().items():
        if not math.isfinite(value):
            raise ValueError(f"{key} is {value}")
        is_full = key.split(".")[0] in (name, *prefixes)
        figures[key if is_full else f"{name}.{key}"] = float(value)
    return figures


def figure_unit(name: str) -> str:
    """Return the unit of a figure by the end of its name (before `_mean`, `_max` and the like)."""
    for statistic in ("_mean", "_median", "_min", "_max", "_p95"):
        name = name.removesuffix(statistic)
    return next((unit for suffix, unit in UNITS_BY_SUFFIX.items() if name.endswith(suffix)), "")


def format_table(figures: Figures) -> str:
    """Return the figures as aligned lines: name, value with four significant digits, unit."""
    width = max(map(len, figures), default=0)
    return "\n".join(f"{name:{width}}  {value:>12,.4g} {figure_unit(name)}".rstrip() for name, value in figures.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested benchmarks. Return 0, 1 when one of them failed, or 2 when there is no such benchmark."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures speed and accuracy.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of: {', '.join(benchmark_names())}; default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as one flat object")
    options = parser.parse_args(arguments)
    configure_native_threads()
    wanted = [name.replace("-", "_") for name in options.names]
    unknown = sorted(set(wanted) - set(benchmark_names()))
    if unknown:
        print(f"There is no benchmark {unknown[0]}. Choose from: {', '.join(benchmark_names())}.", file=sys.stderr)
        return 2
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    figures: Figures = {}
    failed = False
    for name in wanted or benchmark_names():
        start = time.monotonic()
        try:
            module = importlib.import_module(f"benchmarks.{name}")
            new = run_benchmark(name, module.run, getattr(module, "PREFIXES", ()))
        except (UserError, ValueError) as error:
            print(f"\n{name} was not measured: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"\n{name} ({time.monotonic() - start:.0f} s)\n{format_table(new)}", flush=True)
        figures |= new
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"\n{len(figures)} figures are in {options.json}.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
