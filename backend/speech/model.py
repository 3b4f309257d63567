"""What an actor learned about speaking, and its file `speech.safetensors`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, F64
from ..contract.channels import ORAL_CHANNELS
from ..contract.errors import UserError
from ..contract.safe_io import ArrayLayout, is_accessible_file, matches_layout
from ..media.audio_io import SAMPLE_RATE
from .external_features import load_external_features, project_features
from .features import FEATURE_RATE, SpeechFeatures, analyze_speech, context_window_size
from .mouth import MouthProfile, constrain_mouth
from .network import SpeechNetwork

SPEECH_FILE_NAME = "speech.safetensors"
SPEECH_VERSION = 2
SPEECH_VERSION_KEY = "portrait_actor.speech"
# Principal components that are kept of the user's own features. More components fit the clip's noise. Not tuned.
MAX_FEATURE_COMPONENTS = 32
# Frames that are predicted at a time. Only memory depends on it: the windows of an hour would take gigabytes.
CHUNK_FRAMES = 2000

SPEECH_LAYOUT: ArrayLayout = {
    "network.centre": ("D",),
    "network.basis": ("D", "K"),
    "network.supports": ("N", "K"),
    "network.kernel": ("N", len(ORAL_CHANNELS)),
    "network.width": (1,),
    "network.w0": ("E", "K", "H"),
    "network.b0": ("E", 1, "H"),
    "network.w1": ("E", "H", "H"),
    "network.b1": ("E", 1, "H"),
    "network.w2": ("E", "H", len(ORAL_CHANNELS)),
    "network.b2": ("E", 1, len(ORAL_CHANNELS)),
    "network.skip": ("E", "K", len(ORAL_CHANNELS)),
    "network.mean": (len(ORAL_CHANNELS),),
    "network.deviation": (len(ORAL_CHANNELS),),
    "activity": ("T",),
    "plugged": ("P", "C"),
    **{
        f"mouth.{f.name}": ({"span": 2, "liveliness": 1}.get(f.name, len(ORAL_CHANNELS)),) for f in fields(MouthProfile)
    },
}


@dataclass
class SpeechModel:
    """What an actor learned about speaking.

    Attributes:
        network: predicts oral channels from context windows of audio features.
        mouth_profile: how this mouth closes and rests, and the range of its channels.
        activity: (M,) speech activity of the footage's training frames, 0–1.
        external_basis: (1 + K, D) mean and principal directions of the user's own features; (0, 0) without such.
    """

    network: SpeechNetwork
    mouth_profile: MouthProfile
    activity: F32
    external_basis: F32

    def analyze_audio(self, samples: F32, features_file: Path | None) -> SpeechFeatures:
        """Compute the features of a sound that this actor's network takes.

        Args:
            samples: (S,) audio at `SAMPLE_RATE`.
            features_file: the user's own features of the same sound, for an actor that learned from such.

        Raises:
            UserError: ``features_needed``, ``features_unknown``, or ``bad_features``.
        """
        track = analyze_speech(samples)
        if features_file is None and not len(self.external_basis):
            return track
        if features_file is None:
            raise UserError(
                "features_needed",
                "This actor learned to speak from features of your own files.",
                "Give those of this line too, or let it learn to speak again without them.",
            )
        if not len(self.external_basis):
            raise UserError(
                "features_unknown",
                "This actor learned to speak without features of your own files.",
                "Let it learn to speak again with them, or leave them out.",
            )
        values = load_external_features(features_file, len(samples) / SAMPLE_RATE, len(track), FEATURE_RATE)
        if values.shape[1] != self.external_basis.shape[1]:
            raise UserError(
                "bad_features",
                f"{features_file.name} has {values.shape[1]} columns, "
                f"but the actor learned from {self.external_basis.shape[1]}.",
                "Make them with the same network and layer.",
            )
        return replace(track, external=project_features(values, self.external_basis))

    def predict_oral_channels(
        self,
        track: SpeechFeatures,
        times: F64,
        lip_strength: float = 1.0,
        style_channels: tuple[F32, F32] | None = None,
        smoothing_seconds: float = 0.0,
    ) -> F32:
        """Predict the oral channels of a sound, with closed lips and rest enforced.

        Args:
            track: features of the sound.
            times: (T,) seconds at which channels are wanted.
            lip_strength: factor on the mouth's motion; 1 is the actor's own.
            style_channels: what `MouthProfile.with_style` takes, or None for the whole footage's style.
            smoothing_seconds: standard deviation of the Gaussian that smooths the curves.

        Returns:
            (T, 28) channels in the order of `ORAL_CHANNELS`, 0–1.
        """
        chunks = (times[start : start + CHUNK_FRAMES] for start in range(0, len(times), CHUNK_FRAMES))
        predicted = np.concatenate([self.network(track.context_windows(chunk)) for chunk in chunks])
        profile = self.mouth_profile
        if style_channels:
            profile, shift = profile.with_style(*style_channels)
            predicted = predicted + shift
        return constrain_mouth(profile, predicted, track, times, lip_strength, smoothing_seconds)

    def save(self, folder: ActorFolder) -> None:
        """Write `speech.safetensors`.

        Raises:
            UserError: the folder cannot be written.
        """
        arrays = {f"network.{name}": value for name, value in self.network.arrays.items()}
        arrays |= {f"mouth.{f.name}": getattr(self.mouth_profile, f.name) for f in fields(MouthProfile)}
        arrays |= {"activity": self.activity, "plugged": self.external_basis}
        with folder.write_atomically(SPEECH_FILE_NAME) as part:
            whole = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
            # One metadata entry only: several are written in random order, and equal trainings must give equal files.
            # `save_file` would make a file that only its owner may read.
            part.write_bytes(save(whole, metadata={SPEECH_VERSION_KEY: str(SPEECH_VERSION)}))

    @classmethod
    def load(cls, folder: ActorFolder) -> SpeechModel:
        """Read `speech.safetensors`.

        Raises:
            UserError: ``cannot_speak`` (the actor never learned), ``newer_format``, or ``damaged_actor``.
        """
        path = folder.file_path(SPEECH_FILE_NAME)
        if not is_accessible_file(path):
            raise UserError(
                "cannot_speak",
                f"{folder.info.name or folder.path.name} cannot speak, because its footage had no usable sound.",
                "Create the actor from a video with the person's voice.",
            )
        try:
            with safe_open(path, framework="numpy") as file:
                version = int(file.metadata()[SPEECH_VERSION_KEY])
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            if version > SPEECH_VERSION:
                raise UserError(
                    "newer_format",
                    f"{folder.path.name} learned to speak in a newer Portrait Actor.",
                    "Update the extension to use it.",
                )
            return cls._from_arrays(arrays)
        except UserError:
            raise
        except Exception as error:  # safetensors raises its own kinds on a damaged file
            raise damaged_file_error(path) from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, F32]) -> SpeechModel:
        if not all(value.dtype == np.float32 for value in arrays.values()) or not matches_layout(arrays, SPEECH_LAYOUT):
            raise ValueError("an array has another type or shape")
        network = SpeechNetwork({k[8:]: v for k, v in arrays.items() if k.startswith("network.")})
        mouth = MouthProfile(*(arrays[f"mouth.{f.name}"] for f in fields(MouthProfile)))
        external_basis = arrays["plugged"]
        window_size = context_window_size(max(len(external_basis) - 1, 0))
        if network.arrays["centre"].shape != (window_size,):
            raise ValueError("the network takes other features")
        if len(external_basis) == 1 or len(external_basis) > MAX_FEATURE_COMPONENTS + 1:
            raise ValueError("the basis of external features has a wrong size")
        return cls(network, mouth, arrays["activity"], external_basis)
