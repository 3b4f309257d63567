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
from .mouth import MouthProfile
from .network import SpeechNetwork

SPEECH_FILE_NAME = "speech.safetensors"
SPEECH_VERSION = 2
SPEECH_VERSION_KEY = "portrait_actor.speech"
MAX_EXTERNAL_DIRECTIONS = 32  # principal directions of external features that are kept. Not tuned
CHUNK_FRAMES = 2000  # frames predicted at once: the windows of an hour would fill the memory

NETWORK_PREFIX = "network."
MOUTH_PREFIX = "mouth."
EXTERNAL_BASIS_KEY = "plugged"  # in files since version 1
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
    EXTERNAL_BASIS_KEY: ("P", "C"),
    **{
        MOUTH_PREFIX + field.name: ({"span": 2, "liveliness": 1}.get(field.name, len(ORAL_CHANNELS)),)
        for field in fields(MouthProfile)
    },
}


@dataclass
class SpeechModel:
    """What an actor learned about speaking.

    Attributes:
        network: context windows of the audio → oral channels.
        mouth_profile: how this mouth closes, rests and ranges.
        activity: (M,) speech activity of the footage's training frames.
        external_basis: (1 + K, D) centre and principal directions of the external features it was trained with; (0, 0)
            without.
    """

    network: SpeechNetwork
    mouth_profile: MouthProfile
    activity: F32
    external_basis: F32

    def analyze_audio(self, samples: F32, features_file: Path | None) -> SpeechFeatures:
        """Return the features of a sound that this model expects.

        Args:
            samples: (S,) mono at `SAMPLE_RATE`.
            features_file: external features of the same sound, for a model that was trained with such features.

        Raises:
            UserError: ``features_needed``, ``features_unknown``, or ``bad_features``.
        """
        features = analyze_speech(samples)
        if features_file is None and not len(self.external_basis):
            return features
        if features_file is None:
            raise UserError(
                "features_needed",
                "This actor learned to speak with speech features from your own files.",
                "Choose the features of this line too, or train the actor's speech again without such features.",
            )
        if not len(self.external_basis):
            raise UserError(
                "features_unknown",
                "This actor learned to speak without speech features from your own files.",
                "Train the actor's speech again with such features, or leave them out.",
            )
        values = load_external_features(features_file, len(samples) / SAMPLE_RATE, len(features), FEATURE_RATE)
        if values.shape[1] != self.external_basis.shape[1]:
            raise UserError(
                "bad_features",
                f"{features_file.name} has {values.shape[1]} columns, "
                f"but the actor learned from {self.external_basis.shape[1]}.",
                "Make them with the same network and layer.",
            )
        return replace(features, external=project_features(values, self.external_basis))

    def predict_oral_channels(self, features: SpeechFeatures, times: F64) -> F32:
        """Return the network's oral channels (T, 28) at `times` in seconds, not yet constrained."""
        return np.concatenate(
            [
                self.network(features.context_windows(times[first : first + CHUNK_FRAMES]))
                for first in range(0, len(times), CHUNK_FRAMES)
            ]
        )

    def save(self, folder: ActorFolder) -> None:
        """Write `speech.safetensors`."""
        arrays = {NETWORK_PREFIX + name: value for name, value in self.network.arrays.items()}
        arrays |= {MOUTH_PREFIX + field.name: getattr(self.mouth_profile, field.name) for field in fields(MouthProfile)}
        arrays |= {"activity": self.activity, EXTERNAL_BASIS_KEY: self.external_basis}
        contiguous = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
        # One metadata entry only: safetensors writes several in random order, and equal models must give equal files.
        # Not save_file: it makes a file that only its owner can read.
        data = save(contiguous, metadata={SPEECH_VERSION_KEY: str(SPEECH_VERSION)})
        with folder.write_atomically(SPEECH_FILE_NAME) as temporary_path:
            temporary_path.write_bytes(data)

    @classmethod
    def load(cls, folder: ActorFolder) -> SpeechModel:
        """Read `speech.safetensors`.

        Raises:
            UserError: ``cannot_speak`` (there is no such file), ``newer_format``, or ``damaged_actor``.
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
        except Exception as error:  # safetensors raises exception types of its own for a damaged file
            raise damaged_file_error(path) from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, F32]) -> SpeechModel:
        """Return the model in the arrays of a file, or raise ValueError where they do not fit together."""
        if not all(value.dtype == np.float32 for value in arrays.values()) or not matches_layout(arrays, SPEECH_LAYOUT):
            raise ValueError("the arrays have another layout")
        network = SpeechNetwork(
            {key.removeprefix(NETWORK_PREFIX): arrays[key] for key in arrays if key.startswith(NETWORK_PREFIX)}
        )
        profile = MouthProfile(*(arrays[MOUTH_PREFIX + field.name] for field in fields(MouthProfile)))
        external_basis = arrays[EXTERNAL_BASIS_KEY]
        if network.arrays["centre"].shape != (context_window_size(max(len(external_basis) - 1, 0)),):
            raise ValueError("the network was trained on other features")
        if len(external_basis) == 1 or len(external_basis) > MAX_EXTERNAL_DIRECTIONS + 1:
            raise ValueError(f"{EXTERNAL_BASIS_KEY} has {len(external_basis)} rows")
        return cls(network, profile, arrays["activity"], external_basis)
