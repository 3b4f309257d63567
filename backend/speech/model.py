"""Speaking: the actor learns from its own footage how its mouth goes with its sound, and performs any other sound."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from ..contract.actor_folder import ActorFolder, damaged
from ..contract.channels import INDEX, ORAL
from ..contract.errors import UserError
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..contract.safe_io import Layout, fits_layout, is_file
from ..dataset.split import held_out_start
from ..media.audio_io import RATE, is_silent, load_sound
from .external_features import along, directions, load_plugged
from .features import BANDS, TRACK_RATE, SpeechTrack, analyse, feature_count
from .motion import POSE, Strengths, learn_manner, move
from .mouth import Mouth, closing, lip_gap, measure_mouth, pauses, shape_mouth
from .network import SpeechNetwork, fit_network, linear_unseen, unseen

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FILE = "speech.safetensors"
SPEECH_VERSION = 2
VERSION_KEY = "portrait_actor.speech"
STAGE = "learn to speak"
SHORTEST, LONGEST = 0.2, 3600.0  # seconds of a line
STRONGEST = 3.0  # of lips, brows, head and blinks
SMOOTHEST = 0.3  # seconds
SHORTEST_STYLE = 1.0  # seconds
DIRECTIONS = 32  # of plugged features that are kept
LEAST_FRAMES = 48  # of footage with sound from which a mouth can be learned
CHUNK = 2000  # frames spoken at once: windows of an hour would fill the memory
WEAK = 0.25  # correlation of the lips' opening on held-out frames below which the person is told

LAYOUT: Layout = {
    "network.centre": ("D",), "network.basis": ("D", "K"), "network.supports": ("N", "K"),
    "network.kernel": ("N", len(ORAL)), "network.width": (1,), "network.w0": ("E", "K", "H"),
    "network.b0": ("E", 1, "H"), "network.w1": ("E", "H", "H"), "network.b1": ("E", 1, "H"),
    "network.w2": ("E", "H", len(ORAL)), "network.b2": ("E", 1, len(ORAL)), "network.skip": ("E", "K", len(ORAL)),
    "network.mean": (len(ORAL),), "network.deviation": (len(ORAL),), "activity": ("T",), "plugged": ("P", "C"),
    **{f"mouth.{f.name}": ({"span": 2, "liveliness": 1}.get(f.name, len(ORAL)),) for f in fields(Mouth)},
}  # fmt: skip


@dataclass(frozen=True)
class Delivery:
    """How a line is spoken.

    Attributes:
        seed: the same seed gives the same take, another one another take of head, brows and blinks.
        lips, brows, head, blink: strengths; 1 is the actor's own, 0 is still.
        style: parts of the footage, in seconds from its start, whose manner is taken; all of it when empty.
        features: the line's features, for an actor that learned from such (`train_speech`).
        smoothing: seconds, standard deviation, over which the mouth's motion is averaged; lips close all the same.
    """

    seed: int = 0
    lips: float = 1.0
    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0
    style: tuple[tuple[float, float], ...] = ()
    features: Path | None = None
    smoothing: float = 0.0


@dataclass
class Speaker:
    """What an actor learned about speaking.

    Attributes:
        network: windows of sound → oral channels.
        mouth: how this mouth closes, rests and ranges.
        activity: (M,) speech activity of the footage's training frames.
        plugged: (1 + K, D) centre and directions of the features from a file that it learned from; (0, 0) without.
    """

    network: SpeechNetwork
    mouth: Mouth
    activity: F32
    plugged: F32

    def hear(self, samples: F32, features: Path | None) -> SpeechTrack:
        """The track of a sound as this actor learned to hear it.

        Raises:
            UserError: ``features_needed``, ``features_unknown``, or ``bad_features``.
        """
        track = analyse(samples)
        if features is None and not len(self.plugged):
            return track
        if features is None:
            raise UserError(
                "features_needed",
                "This actor learned to speak from features of your own files.",
                "Give those of this line too, or let it learn to speak again without.",
            )
        if not len(self.plugged):
            raise UserError(
                "features_unknown",
                "This actor learned to speak without features of your own files.",
                "Let it learn to speak again with them, or leave them out.",
            )
        values = load_plugged(features, len(samples) / RATE, len(track), TRACK_RATE)
        if values.shape[1] != self.plugged.shape[1]:
            raise UserError(
                "bad_features",
                f"{features.name} has {values.shape[1]} columns, but the actor learned from {self.plugged.shape[1]}.",
                "Make them with the same network and layer.",
            )
        return replace(track, plugged=along(values, self.plugged))

    def oral(
        self,
        track: SpeechTrack,
        times: F64,
        lips: float = 1.0,
        style: tuple[F32, F32] | None = None,
        smoothing: float = 0.0,
    ) -> F32:
        """Oral channels (T, 28) at `times` in seconds; `style` is what `Mouth.in_style` takes."""
        said = np.concatenate([self.network(track.windows(times[i : i + CHUNK])) for i in range(0, len(times), CHUNK)])
        mouth, shift = self.mouth.in_style(*style) if style else (self.mouth, np.float32(0))
        return shape_mouth(mouth, said + shift, track, times, lips, smoothing)

    def save(self, folder: ActorFolder) -> None:
        """Writes `speech.safetensors`."""
        arrays = {f"network.{name}": value for name, value in self.network.arrays.items()}
        arrays |= {f"mouth.{f.name}": getattr(self.mouth, f.name) for f in fields(Mouth)}
        arrays |= {"activity": self.activity, "plugged": self.plugged}
        with folder.replacing(FILE) as part:
            whole = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
            # one entry only: several are written in no fixed order, and the same training is to give the same file
            # save_file would make a file that only its owner may read
            part.write_bytes(save(whole, metadata={VERSION_KEY: str(SPEECH_VERSION)}))

    @classmethod
    def load(cls, folder: ActorFolder) -> Speaker:
        """What the actor learned.

        Raises:
            UserError: ``cannot_speak`` (it never learned), ``newer_format``, or ``damaged_actor``.
        """
        path = folder.file(FILE)
        if not is_file(path):
            raise UserError(
                "cannot_speak",
                f"{folder.info.name or folder.path.name} cannot speak, because its footage had no usable sound.",
                "Create the actor from a video with the person's voice.",
            )
        try:
            with safe_open(path, framework="numpy") as file:
                version = int(file.metadata()[VERSION_KEY])
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            if version > SPEECH_VERSION:
                raise UserError(
                    "newer_format",
                    f"{folder.path.name} learned to speak in a newer Portrait Actor.",
                    "Update the extension to use it.",
                )
            return cls._checked(arrays)
        except UserError:
            raise
        except Exception as error:  # safetensors raises its own kinds on a damaged file
            raise damaged(path) from error

    @classmethod
    def _checked(cls, arrays: dict[str, F32]) -> Speaker:
        if not all(value.dtype == np.float32 for value in arrays.values()) or not fits_layout(arrays, LAYOUT):
            raise ValueError("shape")
        network = SpeechNetwork({k[8:]: v for k, v in arrays.items() if k.startswith("network.")})
        mouth = Mouth(*(arrays[f"mouth.{f.name}"] for f in fields(Mouth)))
        plugged = arrays["plugged"]
        count = feature_count(max(len(plugged) - 1, 0))
        if network.arrays["centre"].shape != (count,):
            raise ValueError("made for other features")
        if len(plugged) == 1 or len(plugged) > DIRECTIONS + 1:
            raise ValueError("plugged")
        return cls(network, mouth, arrays["activity"], plugged)


def train_speech(
    folder: ActorFolder, reporter: Reporter, seed: int = 0, features: Path | None = None
) -> dict[str, Any]:
    """Learns from `footage.npz`, `proxy.npz` and `audio.wav`, writes `speech.safetensors`.

    Frame i of the footage is at i / fps seconds of the sound. The last eleventh is only looked at for the figures.

    Args:
        features: more features of the footage's sound to learn from, see `audio.plugged`; lines need theirs then too.

    Returns:
        {"held_out": {"jawOpen_r", "opening_r", "oral_r"}: correlation of the spoken with the tracked curves on held-out
        frames (opening: gap between the lips; oral: mean over the channels that move), "unshaped": the same before
        rest and closures are enforced, "ridge": the same for ridge regression on the log-mel spectrum,
        "pause_opening": mean opening in pauses and "closure_opening": mean opening where lips must meet, as shares of
        the footage's range, "frames", "seconds"}; {} when nothing could be learned (a note says so).

    Raises:
        UserError: the actor is damaged, or ``bad_features``.
        Cancelled: the person asked to stop.
    """
    began = time.monotonic()
    footage, gap = folder.footage(), _gap(folder)
    samples = load_sound(folder.file("audio.wav"))
    times = np.arange(len(footage)) / footage.fps
    heard = int(np.searchsorted(times, len(samples) / RATE))
    count = min(held_out_start(len(footage)), heard)
    if count < LEAST_FRAMES or is_silent(samples):
        reporter.note("The clip has too little sound to learn from: the actor cannot speak.")
        return {}
    reporter.progress(STAGE, 0, 1)
    track, plugged = analyse(samples), np.zeros((0, 0), np.float32)
    if features is not None:
        values = load_plugged(features, len(samples) / RATE, len(track), TRACK_RATE)
        plugged = directions(values[: round(times[count - 1] * TRACK_RATE)], DIRECTIONS)
        track = replace(track, plugged=along(values, plugged))
    windows, oral = track.windows(times[:heard]), footage.channels[:heard, : len(ORAL)]
    learned = slice(0, count)
    network = fit_network(
        windows[learned], oral[learned], seed, report=lambda done, total: reporter.progress(STAGE, done, total)
    )
    mouth = measure_mouth(oral[learned], unseen(windows[learned], oral[learned]), track, times[learned], gap)
    speaker = Speaker(network, mouth, track.at(track.activity, times[learned]), plugged)
    speaker.save(folder)
    figures = _figures(speaker, track, times[:heard], oral, count)
    if figures.get("held_out", {}).get("opening_r", 1.0) < WEAK:
        reporter.note("The mouth in the footage follows its sound only weakly: check that the person shown is heard.")
    return {**figures, "frames": count, "seconds": round(time.monotonic() - began, 1)}


def speak(
    folder: ActorFolder, sound: Path, how: Delivery | None = None, *, fps: float | None = None, first_frame: int = 0
) -> Performance:
    """The actor speaks a sound: the mouth follows it, everything else is the actor's own manner.

    Args:
        sound: any file with a sound track.
        fps: frames per second of the performance; the footage's when None.
        first_frame: frame number at which the sound begins.

    Returns:
        A performance as long as the sound.

    Raises:
        UserError: ``cannot_speak``, ``sound_too_short``, ``sound_too_long``, ``silent``, ``bad_strength``,
            ``bad_smoothing``, ``bad_style``, what `Speaker.hear` raises, or the sound cannot be read.
    """
    how = how or Delivery()
    if not all(0 <= strength <= STRONGEST for strength in (how.lips, how.brows, how.head, how.blink)):
        raise UserError("bad_strength", f"A strength is not between 0 and {STRONGEST:g}.", "1 is the actor's own.")
    if not 0 <= how.smoothing <= SMOOTHEST:
        raise UserError("bad_smoothing", f"{how.smoothing:g} s is no smoothing.", f"Choose 0 to {SMOOTHEST:g} s.")
    speaker = Speaker.load(folder)
    footage = folder.footage()
    parts = _style_rows(how.style, footage.fps, len(speaker.activity))
    samples = _voice(sound)
    seconds = len(samples) / RATE
    rate = footage.fps if fps is None else fps
    count = max(1, int(np.ceil(seconds * rate - 1e-3)))
    times = np.arange(count) / rate
    track = speaker.hear(samples, how.features)
    manner = learn_manner(footage, speaker.activity, parts)
    grid = np.arange(int(np.ceil(seconds * footage.fps)) + 2) / footage.fps
    strengths = Strengths(how.brows, how.head, how.blink)
    moved = move(manner, track.at(track.activity, grid), times, how.seed, strengths)
    result = Performance.rest(count, rate, first_frame)
    result.head_rotation, result.head_translation = moved[:, :4], moved[:, 4:7]
    result.torso_rotation, result.torso_translation = moved[:, 7:11], moved[:, 11:POSE]
    style = _style_mouth(footage, speaker.activity, parts)
    oral = speaker.oral(track, times, how.lips, style, how.smoothing)
    result.channels = np.concatenate([oral, moved[:, POSE:]], 1)
    return result.check("spoken from " + sound.name)


def _voice(sound: Path) -> F32:
    """The samples of a line.

    Raises:
        UserError: it cannot be read or spoken.
    """
    samples = load_sound(sound)
    seconds = len(samples) / RATE
    if seconds < SHORTEST:
        raise UserError("sound_too_short", f"{sound.name} is shorter than {SHORTEST} seconds.", "Choose a longer one.")
    if seconds > LONGEST:
        raise UserError("sound_too_long", f"{sound.name} is longer than an hour.", "Cut it into lines.")
    if is_silent(samples):
        raise UserError("silent", f"{sound.name} is silent.", "Choose a sound with a voice.")
    return samples


def _style_rows(style: tuple[tuple[float, float], ...], fps: float, count: int) -> list[tuple[int, int]]:
    """The rows of the footage's parts (seconds), joined where they overlap; [] for all of it.

    Raises:
        UserError: ``bad_style``, a part is empty, or lies beyond what the actor learned from.
    """
    rows = np.zeros(count + 1, bool)
    for start, end in style:
        first, last = (int(np.clip(np.nan_to_num(edge * fps), 0, count)) for edge in (start, end))
        if last - first < SHORTEST_STYLE * fps:
            raise UserError(
                "bad_style",
                f"From {start:g} to {end:g} s the actor learned less than {SHORTEST_STYLE:g} s.",
                f"Mark longer parts of the footage, between 0 and {count / fps:.1f} s.",
            )
        rows[first:last] = True
    edges = np.flatnonzero(np.diff(rows.astype(np.int8), prepend=0))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _style_mouth(footage: Performance, activity: F32, parts: list[tuple[int, int]]) -> tuple[F32, F32] | None:
    """The oral channels while speaking, in the parts and in all the footage; None where there is no such style."""
    oral, speaking = footage.channels[: len(activity), : len(ORAL)], activity > 0.5
    inside = np.zeros(len(activity), bool)
    for first, end in parts:
        inside[first:end] = True
    if not parts or (inside & speaking).sum() < LEAST_FRAMES // 2:
        return None
    return oral[inside & speaking], oral[speaking]


def _gap(folder: ActorFolder) -> F32:
    try:
        return lip_gap(folder.proxy())
    except ValueError as error:
        raise damaged(folder.file("proxy.npz")) from error


def _figures(speaker: Speaker, track: SpeechTrack, times: F64, oral: F32, count: int) -> dict[str, Any]:
    """How well the mouth follows; held-out frames are those from `count` on."""
    gap = speaker.mouth.gap
    said = speaker.network(track.windows(times))
    spoken = shape_mouth(speaker.mouth, said, track, times, 1.0)
    opening = np.clip(speaker.mouth.openness(spoken), 0, None)
    rest, shut = pauses(track, times) > 0.9, closing(track, times, speaker.mouth.openness(said)) > 0.95
    shares = {"pause_opening": opening[rest], "closure_opening": opening[shut & ~rest]}
    figures: dict[str, Any] = {k: round(float(v.mean()), 4) for k, v in shares.items() if len(v)}
    if len(times) - count >= 8:
        plain = replace(track, plugged=None).windows(times)
        mel = np.concatenate([plain[:, i : i + BANDS] for i in _mel_columns()], 1)
        ridge = linear_unseen(mel[:count], oral[:count], mel[count:])
        figures["held_out"] = _agreement(spoken[count:], oral[count:], gap)
        figures["unshaped"] = _agreement(said[count:], oral[count:], gap)
        figures["ridge"] = _agreement(ridge, oral[count:], gap)
    return figures


def _mel_columns() -> range:
    """Where the log-mel bands of each tap begin in a window."""
    from .features import RHYTHM_COUNT, TAPS

    return range(0, feature_count() - RHYTHM_COUNT, (feature_count() - RHYTHM_COUNT) // (2 * TAPS + 1))


def _agreement(spoken: F32, tracked: F32, gap: F32) -> dict[str, float]:
    """Correlations of curves (T, 28); a curve that does not move counts as 0 when spoken, not at all when tracked."""
    moving = [i for i in range(len(ORAL)) if tracked[:, i].std() > 0.01]
    jaw = INDEX["jawOpen"]
    each = [correlation(spoken[:, i], tracked[:, i]) for i in moving]
    return {
        "jawOpen_r": round(correlation(spoken[:, jaw], tracked[:, jaw]), 4),
        "opening_r": round(correlation(spoken @ gap, tracked @ gap), 4),
        "oral_r": round(float(np.mean(each)), 4) if each else 0.0,
    }


def correlation(a: F32, b: F32) -> float:
    """Pearson's r of two curves; 0 when one of them is still."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-9 else 0.0
