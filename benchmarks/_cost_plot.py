"""Plots the rasterizer's cost from the figures of `build.py bench rasterizer --json FILE`.

python -m benchmarks._cost_plot FILE docs/rasterizer_cost.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import NullFormatter


def draw_cost_plot(figures: dict[str, float], image_file: Path) -> None:
    """Draw milliseconds over Gaussians and over pixels, on logarithmic axes, with a line of slope 1 for comparison."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for plot, name in zip(axes, ("gaussians", "pixels"), strict=True):
        prefix = f"rasterizer.cpu.{name}."
        points = sorted((int(k.split(".")[3]), v) for k, v in figures.items() if k.startswith(prefix))
        x, y = zip(*points, strict=True)
        middle = len(x) // 2
        plot.loglog(x, [y[middle] * v / x[middle] for v in x], "--", color="0.7", label="linear")
        exponent = figures[f"rasterizer.cpu.{name}_exponent"]
        plot.loglog(x, y, "o-", color="#c8563c", label=f"measured, slope {exponent:.2f}")
        for axis in (plot.xaxis, plot.yaxis):
            axis.set_minor_formatter(NullFormatter())
        plot.set_xlabel(name)
        plot.set_ylabel("forward and backward, ms")
        plot.legend()
        plot.grid(alpha=0.3)
    figure.savefig(image_file, dpi=100)


if __name__ == "__main__":
    draw_cost_plot(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
