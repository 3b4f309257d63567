"""What is heard in the footage: offset between sound and picture, and how right and how fast the speech features are.

The offset is measured on every clip of the folder that PORTRAIT_ACTOR_CLIPS names (by default `../shared/data` beside
the project) that can be used and has a voice, and on the sample actor, whose offset is zero. Each is measured again as
if its sound came −300 … 300 ms late, in steps of 40 ms; `shift_error_ms` is the difference of the lag found from the
lag expected. Phones and voicing are compared with what the sample's synthesiser was told to say.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly
from scipy.stats import rankdata

from backend.contract.errors import UserError
from backend.contract.progress import Reporter
from backend.media.audio_io import RATE, is_silent, load_sound
from backend.pipeline.scan import scan_footage
from backend.speech.av_sync import NATURAL_LEAD, measure_offset
from backend.speech.features import SpeechTrack, analyse
from backend.speech.phones import BILABIAL
from backend.synthetic import SampleOptions, make_sample, voice
from backend.synthetic.phones import FOOTAGE, PHONES, Spoken, speak_lines

PREFIXES = ("sound",)
CLIPS = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2] / "shared" / "data"))
SECONDS, FPS = 24.0, 25.0
SHIFTS = np.arange(-300, 301, 40) / 1000  # seconds
LARGE, SMALL = 0.14, 0.06  # shifts that should be corrected, and those that may be the person's own
EDGE = 0.02  # seconds at both ends of a phone that belong to its neighbours too

F32 = NDArray[np.float32]
Flags = NDArray[np.bool_]


def run() -> dict[str, float]:
    """Figures under `sound.*`."""
    figures = features() | sample()
    for group in ("train", "extra", "hard"):
        for clip in sorted((CLIPS / group).glob("*.m*")):
            found = clip_offset(clip)
            figures |= {f"sound.{clip.stem}.{name}": value for name, value in found.items()}
    return figures


def features() -> dict[str, float]:
    """Voicing, phones and speaker normalisation on a voice whose phones are known; speed."""
    rng = np.random.default_rng(0)
    said = speak_lines([text for _, text in FOOTAGE], rng, lead=0.6, pause=0.6, until=SECONDS)
    samples = resample_poly(voice.synthesise(said, 0, SECONDS), RATE, voice.RATE).astype(np.float32)
    times = np.arange(round(SECONDS * FPS)) / FPS
    analyse(samples[: 2 * RATE])  # compiles
    began = time.process_time()
    track = analyse(samples)
    windows = track.windows(times)
    figures = {"sound.features.frames_per_cpu_second_fps": len(times) / (time.process_time() - began)}
    return figures | recognition(track, said) | normalisation(samples, windows, times)


def recognition(track: SpeechTrack, said: list[Spoken]) -> dict[str, float]:
    """Voicing, activity and phones against what was said, in frames of 10 ms."""
    clock = np.arange(len(track)) / 100
    name, owned = np.full(len(clock), "SIL", dtype="U4"), np.ones(len(clock), bool)
    for phone in said:
        name[(clock >= phone.start) & (clock < phone.end)] = phone.name
        owned &= (np.abs(clock - phone.start) > EDGE) & (np.abs(clock - phone.end) > EDGE)
    spoken = owned & (name != "SIL")
    voiced = np.array([n != "SIL" and PHONES[n].voice >= 0.4 for n in name])
    loop, names = track.phones.loop, np.array(track.phones.names)
    best = np.argsort(-loop, 1)
    right = names[best] == name[:, None]
    lips = np.isin(name, BILABIAL)
    return {
        "sound.sample.voicing_accuracy": balanced(track.rhythm[owned, 11] > 0.5, voiced[owned]),
        "sound.sample.voicing_auc": auc(track.rhythm[owned, 11], voiced[owned]),
        "sound.sample.activity_accuracy": balanced(track.activity[owned] > 0.5, (name != "SIL")[owned]),
        "sound.sample.phone_top1": float(right[spoken, 0].mean()),
        "sound.sample.phone_top5": float(right[spoken, :5].any(1).mean()),
        "sound.sample.phone_chance": 1 / len(names),
        "sound.sample.bilabial_auc": auc(track.bilabial[owned], lips[owned]),
    }


def normalisation(samples: F32, windows: F32, times: NDArray[np.float64]) -> dict[str, float]:
    """How far the features move, in their own deviations, when the same is said elsewhere or by another voice."""
    tilted = lfilter([1.0, -0.7], [1.0], samples).astype(np.float32)
    other = resample_poly(samples, 20, 23).astype(np.float32)  # 15 % higher, and faster
    changes = {
        "gain_minus_20_db": (samples * 0.1, times),
        "other_microphone": (tilted / np.abs(tilted).max() * np.abs(samples).max(), times),
        "higher_voice": (other, times * 20 / 23),
    }
    figures = {}
    for name, (changed, moments) in changes.items():
        moved = analyse(changed).windows(moments)
        figures[f"sound.normalised.{name}_change"] = float(np.abs(moved - windows).mean() / windows.std(0).mean())
        figures[f"sound.normalised.{name}_r"] = float(np.corrcoef(moved.ravel(), windows.ravel())[0, 1])
    return figures


def balanced(said: Flags, true: Flags) -> float:
    """Mean of the shares of right answers among the true and among the false."""
    return float((said[true].mean() + (~said[~true]).mean()) / 2)


def auc(score: NDArray[np.floating[Any]], true: Flags) -> float:
    """Probability that a true one scores higher than a false one."""
    ranks = rankdata(score)
    positive = int(true.sum())
    return float((ranks[true].sum() - positive * (positive + 1) / 2) / (positive * int((~true).sum())))


def sample() -> dict[str, float]:
    """The sample actor, whose sound and picture are made together, as the tracker sees it."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "sample.mp4"
        make_sample(clip, SampleOptions(seconds=14.0, size=256, seed=1))
        return {f"sound.sample.{name}": value for name, value in clip_offset(clip).items()}


def clip_offset(clip: Path) -> dict[str, float]:
    """The offset of one clip, and how the same clip is judged with its sound shifted; {} when it cannot be used."""
    began = time.perf_counter()
    try:
        info, found, chosen = scan_footage(clip, None, Reporter())
        scanned = time.perf_counter() - began
        samples = load_sound(clip)
    except UserError:
        return {}
    if is_silent(samples):
        return {}
    track, first = analyse(samples), chosen.first / info.fps
    offset = measure_offset(track, chosen.landmarks, info.fps, first)
    if not np.isfinite(offset.lag):
        return {}
    figures = {
        "offset_ms": 1000 * offset.seconds, "lag_ms": 1000 * offset.lag, "sure": float(offset.sure),
        "correlation": offset.correlation, "steady": offset.steady, "scan_fps": len(found.landmarks) / scanned,
    }  # fmt: skip
    shifted = [measure_offset(track, chosen.landmarks, info.fps, first - late) for late in SHIFTS]
    lags, sure = np.array([s.lag for s in shifted]), np.array([s.sure for s in shifted])
    figures["shift_error_ms_mean"] = float(1000 * np.abs(lags - offset.lag - SHIFTS).mean())
    figures["shift_from_zero_error_ms_mean"] = float(1000 * np.abs(lags - NATURAL_LEAD - SHIFTS).mean())
    figures["large_shifts_sure_percent"] = 100 * float(sure[np.abs(SHIFTS) >= LARGE].mean())
    figures["small_shifts_sure_percent"] = 100 * float(sure[np.abs(SHIFTS) <= SMALL].mean())
    return figures
