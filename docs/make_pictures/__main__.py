"""Makes the manual's pictures in docs/pictures from the sample actor.

    python3 build.py demo                                    # once: the sample actor, in portrait_actor_demo/
    .venv/bin/python -m docs.make_pictures [NAME …] [--demo DIR]

NAME is one of these; without a NAME all are made, which takes about a quarter of an hour on two cores.

    shot      composites and the GIF; needs Blender as a Python module, .venv-bpy-5.0
    work      Blender's window with an actor; needs what `build.py test desktop` needs
    steps     the sidebar's first steps; the same
    report    the report's page; needs chromium on PATH

Check the results: places in the window are given in pixels.
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

from backend.contract.arrays import Image
from backend.contract.errors import UserError
from tools import environments, package, pipeline
from tools.processes import ROOT, StepFailedError, child_environment, run_step, write_line

from . import window_pictures

PICTURES_FOLDER = ROOT / "docs" / "pictures"
JPEG_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 88]  # 0–100; lower shows artifacts around text
MAX_PNG_WIDTH = 1000  # pixels; text is sharper as PNG, but wider pictures show the actor, which makes PNGs large
NAMES = ("shot", "work", "steps", "report")
GIF_WIDTH = 640  # pixels
PICTURE_GAP = 8  # pixels between two stills
# The report's security policy, which allows no script but its own.
SECURITY_POLICY_PATTERN = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
SEEK_SCRIPT = '<script>document.querySelector("video").currentTime = 4.32</script>'  # seconds; an open mouth
GIF_FRAME_HUNDREDTHS = 8  # of a second between the GIF's frames: every second frame of 25 a second
BROWSER_OPTIONS = (
    "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1440,1300", "--virtual-time-budget=4000",
)  # fmt: skip


def save_picture(name: str, image: Image) -> None:
    """Write a picture as PNG, or as JPEG when it is wide."""
    file = PICTURES_FOLDER / f"{name}.{'png' if image.shape[1] < MAX_PNG_WIDTH else 'jpg'}"
    cv2.imwrite(str(file), image[:, :, ::-1], JPEG_OPTIONS if file.suffix == ".jpg" else [])
    write_line(f"{file.relative_to(ROOT)} ({file.stat().st_size / 1e3:.0f} kB)")


def make_shot_pictures(demo_folder: Path) -> None:
    """Make the pictures of the actor speaking in a set: before and after the sliders, and a GIF."""
    with tempfile.TemporaryDirectory(prefix="portrait_actor_manual_") as name:
        folder = Path(name)
        inputs: list[str | Path] = [
            package.build_archive(),
            demo_folder / "sample.actor",
            demo_folder / "sample_line.wav",
            folder,
        ]
        environment = child_environment(
            BLENDER_USER_RESOURCES=folder / "user", PORTRAIT_ACTOR_PYTHON=environments.ensure_backend_python()
        )
        run_step(
            [environments.ensure_bpy_python("5.0"), ROOT / "docs" / "make_pictures" / "render_shot.py", "--", *inputs],
            env=environment,
        )
        before, after = (read_image(folder / f"{still}.png") for still in ("as_it_comes", "with_sliders"))
        save_picture("compositing", np.hstack([before, np.full((len(before), PICTURE_GAP, 3), 255, np.uint8), after]))
        write_gif(
            [read_image(file) for file in sorted(folder.glob("speaking_*.png"))], PICTURES_FOLDER / "speaking.gif"
        )


def read_image(file: Path) -> Image:
    """Read an image file, (H, W, 3) RGB."""
    return np.ascontiguousarray(cv2.imread(str(file))[:, :, ::-1])


def write_gif(images: list[Image], file: Path) -> None:
    """Write an animated GIF with one palette, GIF_WIDTH pixels wide."""
    height = round(GIF_WIDTH * images[0].shape[0] / images[0].shape[1])
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
    for number, image in enumerate(images):
        small = cv2.resize(image, (GIF_WIDTH, height), interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(small, format="rgb24")
        frame.pts, frame.time_base = GIF_FRAME_HUNDREDTHS * number, Fraction(1, 100)
        source.push(frame)
    source.push(None)
    with av.open(str(file), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = GIF_WIDTH, height, "pal8"
        for _ in images:
            drawn = sink.pull()
            assert isinstance(drawn, av.VideoFrame)
            container.mux(stream.encode(drawn))
        container.mux(stream.encode(None))
    write_line(f"{file.relative_to(ROOT)} ({file.stat().st_size / 1e3:.0f} kB)")


def make_report_picture(demo_folder: Path) -> None:
    """Make the picture of the report's page, as a browser shows it.

    Raises:
        UserError: chromium was not found.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise UserError("no_browser", "No chromium was found on PATH.", "Install it, or leave out `report`.")
    with tempfile.TemporaryDirectory(prefix="portrait_actor_manual_") as folder:
        file, page = Path(folder) / "report.png", Path(folder) / "report.html"
        text = (demo_folder / "sample.actor" / "report.html").read_text(encoding="utf-8")
        page.write_text(re.sub(SECURITY_POLICY_PATTERN, "", text) + SEEK_SCRIPT, encoding="utf-8")
        run_step([browser, *BROWSER_OPTIONS, f"--user-data-dir={folder}", f"--screenshot={file}", page.as_uri()])
        save_picture("report", read_image(file))


def main() -> int:
    """Make the pictures. Return 0, 2 with one sentence on standard error, or the failing step's exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.make_pictures", description="The manual's pictures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; default: all")
    parser.add_argument(
        "--demo", type=Path, default=ROOT / pipeline.DEMO_FOLDER, metavar="DIR", help="the demo's folder"
    )
    options = parser.parse_args()
    demo = options.demo.absolute()
    make = {
        "shot": lambda: make_shot_pictures(demo),
        "work": lambda: window_pictures.capture_work(demo / "sample.actor", demo / "sample_line.wav", save_picture),
        "steps": lambda: window_pictures.capture_steps(save_picture),
        "report": lambda: make_report_picture(demo),
    }
    try:
        if not (demo / "sample.actor" / "model.safetensors").exists():
            raise UserError("no_demo", f"There is no sample actor in {demo}.", "Run `python3 build.py demo` first.")
        PICTURES_FOLDER.mkdir(exist_ok=True)
        for name in options.names or NAMES:
            make[name]()
    except StepFailedError as failure:
        return failure.code
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return UserError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
