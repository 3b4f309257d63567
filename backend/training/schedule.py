"""The presets: how large an actor is and how long each phase of training lasts. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rates:
    """Adam's learning rates at the start of training; they fall exponentially to a fiftieth at the end.

    Attributes:
        means: metres. scales: natural log. quats, opacities (logit), colours (0–1), skin (logit).
        basis: offsets of the branches (centimetres, 0–1 and logit). network: the branches' networks.
        pose: radians and decimetres. channels: 0–1.
    """

    means: float = 3e-4
    scales: float = 8e-3
    quats: float = 2e-3
    opacities: float = 3e-2
    colours: float = 1e-2
    skin: float = 2e-2
    basis: float = 4e-3
    network: float = 2e-3
    pose: float = 3e-4
    channels: float = 2e-3


@dataclass(frozen=True)
class Weights:
    """What each term of the loss counts for.

    Attributes:
        ssim: structural dissimilarity beside L1. alpha: alpha against the person matte.
        motion: mean absolute learned offset (keeps the branches near the identity).
        neck: difference of motion between neighbouring Gaussians of head and torso.
        face, mouth: extra weight of pixels inside the face, and inside the mouth.
    """

    ssim: float = 0.2
    alpha: float = 0.1
    motion: float = 1e-3
    neck: float = 0.05
    face: float = 1.0
    mouth: float = 3.0


@dataclass(frozen=True)
class Preset:
    """One quality level.

    Attributes:
        size: side of the training crops in pixels.
        spacing: distance between neighbouring Gaussians on plain skin, in pixels of the crop.
        warm_up: steps in which branches rest and only the static picture is learned.
        cycles, cycle: alternating cycles, and steps per cycle: a third oral, a third facial, a third poses and looks.
        joint: steps in which everything is polished together.
        facial, oral, rigid: shapes per branch.
    """

    size: int = 256
    spacing: float = 1.9
    warm_up: int = 300
    cycles: int = 5
    cycle: int = 300
    joint: int = 1600
    facial: int = 20
    oral: int = 16
    rigid: int = 8
    rates: Rates = field(default_factory=Rates)
    weights: Weights = field(default_factory=Weights)

    @property
    def steps(self) -> int:
        """All steps together."""
        return self.warm_up + self.cycles * self.cycle + self.joint


PRESETS: dict[str, Preset] = {
    "tiny": Preset(size=96, spacing=2.4, warm_up=60, cycles=2, cycle=60, joint=120, facial=8, oral=8, rigid=4),
    "draft": Preset(),
    "standard": Preset(spacing=1.6, warm_up=500, cycles=8, cycle=900, joint=6000),
    "final": Preset(size=512, spacing=2.2, warm_up=800, cycles=10, cycle=1200, joint=12000),
}

WARM_UP, ORAL, FACIAL, POSE, JOINT = "static", "oral", "facial", "pose", "joint"


def phase(preset: Preset, step: int) -> str:
    """Which phase a step of the schedule belongs to."""
    if step < preset.warm_up:
        return WARM_UP
    step -= preset.warm_up
    if step >= preset.cycles * preset.cycle:
        return JOINT
    return (ORAL, FACIAL, POSE)[step % preset.cycle * 3 // preset.cycle]
