"""The manual's pictures, made anew from the sample actor into docs/pictures.

    python3 build.py demo                                    # once: the sample actor, in portrait_actor_demo/
    .venv/bin/python -m docs.make_pictures [NAME …] [--demo DIR]

NAME is `shot` (composites and the GIF; Blender as a Python module, .venv-bpy-5.0), `work` or `steps` (Blender's window;
what `build.py test desktop` needs) or `report` (chromium on PATH). Without one all are made, in about a quarter of an
hour on two cores. Look at what comes out: places in the window are measured in pixels.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from backend.contract.errors import UserError
from tools import environments, package, pipeline
from tools.processes import ROOT, StepFailed, environment, say, step

from . import window_pictures

Picture = NDArray[np.uint8]
FOLDER = ROOT / "docs" / "pictures"
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 88]
NAMES = ("shot", "work", "steps", "report")
GIF_WIDTH = 640
POLICY = r'<meta http-equiv="Content-Security-Policy"[^>]*>'  # of the report: runs no script but its own
SEEK = '<script>document.querySelector("video").currentTime = 4.32</script>'  # an open mouth
TICKS = 8  # hundredths of a second between the GIF's frames: every second frame of 25 a second


def keep(name: str, picture: Picture) -> None:
    """Writes a picture of Blender's window; text is sharper as PNG, but the actor makes that large."""
    file = FOLDER / f"{name}.{'png' if picture.shape[1] < 1000 else 'jpg'}"
    cv2.imwrite(str(file), picture[:, :, ::-1], QUALITY if file.suffix == ".jpg" else [])
    say(f"{file.relative_to(ROOT)} ({file.stat().st_size / 1e3:.0f} kB)")


def shot(demo: Path) -> None:
    """The actor speaking in a set: before and after, and a GIF."""
    with tempfile.TemporaryDirectory(prefix="portrait_actor_manual_") as name:
        folder = Path(name)
        inputs: list[str | Path] = [package.build(), demo / "sample.actor", demo / "sample_line.wav", folder]
        places = environment(BLENDER_USER_RESOURCES=folder / "user", PORTRAIT_ACTOR_PYTHON=environments.backend())
        step([environments.bpy("5.0"), ROOT / "docs" / "make_pictures" / "render_shot.py", "--", *inputs], env=places)
        before, after = (read(folder / f"{each}.png") for each in ("as_it_comes", "with_sliders"))
        keep("compositing", np.hstack([before, np.full((len(before), 8, 3), 255, np.uint8), after]))
        write_gif([read(file) for file in sorted(folder.glob("speaking_*.png"))], FOLDER / "speaking.gif")


def read(file: Path) -> Picture:
    """(H, W, 3) RGB."""
    return np.ascontiguousarray(cv2.imread(str(file))[:, :, ::-1])


def write_gif(pictures: list[Picture], file: Path) -> None:
    """An animated GIF with one palette, GIF_WIDTH pixels wide."""
    height = round(GIF_WIDTH * pictures[0].shape[0] / pictures[0].shape[1])
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=GIF_WIDTH, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100)
    )
    split, palette = graph.add("split"), graph.add("palettegen", "max_colors=255")
    use, sink = graph.add("paletteuse", "diff_mode=rectangle"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for number, picture in enumerate(pictures):
        small = cv2.resize(picture, (GIF_WIDTH, height), interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(small, format="rgb24")
        frame.pts, frame.time_base = TICKS * number, Fraction(1, 100)
        source.push(frame)
    source.push(None)
    with av.open(str(file), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = GIF_WIDTH, height, "pal8"
        for _ in pictures:
            drawn = sink.pull()
            assert isinstance(drawn, av.VideoFrame)
            container.mux(stream.encode(drawn))
        container.mux(stream.encode(None))
    say(f"{file.relative_to(ROOT)} ({file.stat().st_size / 1e3:.0f} kB)")


def report(demo: Path) -> None:
    """The report's page, as a browser shows it.

    Raises:
        UserError: there is no chromium.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise UserError("no_browser", "No chromium was found on PATH.", "Install it, or leave out `report`.")
    with tempfile.TemporaryDirectory(prefix="portrait_actor_manual_") as folder:
        file, page = Path(folder) / "report.png", Path(folder) / "report.html"
        text = (demo / "sample.actor" / "report.html").read_text(encoding="utf-8")
        page.write_text(re.sub(POLICY, "", text) + SEEK, encoding="utf-8")
        look = [
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            "--window-size=1440,1300",
            "--virtual-time-budget=4000",
        ]
        step([browser, *look, f"--user-data-dir={folder}", f"--screenshot={file}", page.as_uri()])
        keep("report", read(file))


def main() -> int:
    """0, 2 with one sentence on standard error, or the failing step's code."""
    parser = argparse.ArgumentParser(prog="python -m docs.make_pictures", description="The manual's pictures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; else all")
    parser.add_argument(
        "--demo", type=Path, default=ROOT / pipeline.DEMO_FOLDER, metavar="DIR", help="what the demo made"
    )
    options = parser.parse_args()
    demo = options.demo.absolute()
    make = {
        "shot": lambda: shot(demo),
        "work": lambda: window_pictures.take_work(demo / "sample.actor", demo / "sample_line.wav", keep),
        "steps": lambda: window_pictures.take_steps(keep),
        "report": lambda: report(demo),
    }
    try:
        if not (demo / "sample.actor" / "model.safetensors").exists():
            raise UserError("no_demo", f"There is no sample actor in {demo}.", "Run `python3 build.py demo` first.")
        FOLDER.mkdir(exist_ok=True)
        for name in options.names or NAMES:
            make[name]()
    except StepFailed as failure:
        return failure.code
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return UserError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
