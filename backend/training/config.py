"""The presets: how large an actor is and how long each phase of training lasts. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dataset.clip import PixelWeights
from ..portrait.initialization import InitialPortrait


@dataclass(frozen=True)
class Rates:
    """Adam's learning rates at the start of training; they fall exponentially to a fiftieth at the end, those of the
    corrections to a third only: a frame is seen a few times, in each of which it must go most of its way.

    Attributes:
        means: metres. scales: natural log. quats, opacities (logit), colours (0–1), skin (logit).
        basis: offsets of the branches (centimetres, 0–1 and logit). network: the branches' networks.
        pose, channels: steps of the frames' corrections at a usual gradient; radians and decimetres, and 0–1.
    """

    means: float = 3e-4
    scales: float = 8e-3
    quats: float = 2e-3
    opacities: float = 3e-2
    colours: float = 1e-2
    skin: float = 2e-2
    basis: float = 4e-3
    network: float = 2e-3
    pose: float = 3e-3
    channels: float = 3e-2


@dataclass(frozen=True)
class Weights:
    """What each term of the loss counts for.

    Attributes:
        ssim: structural dissimilarity beside L1. alpha: alpha against the person matte.
        motion: mean absolute learned offset (keeps the branches near the identity).
        coherence: difference of learned offsets between neighbouring Gaussians of a branch.
        neck: difference of motion between neighbouring Gaussians of head and torso.
        solid: what is not solid inside the outline at head poses beyond the footage.
        pixels: how much each pixel counts, see `PixelWeights`.
    """

    ssim: float = 0.2
    alpha: float = 0.1
    motion: float = 1e-3
    coherence: float = 0.1
    neck: float = 0.05
    solid: float = 1.0
    pixels: PixelWeights = field(default_factory=PixelWeights)


@dataclass(frozen=True)
class Method:
    """The method's parts, each of which `ablate` leaves out once to see what it is worth.

    Attributes:
        alternation: oral, facial and pose phases in turn, in each of which the other parts rest; else all at once.
        consistency: head over torso is supervised as one portrait, neighbours at the neck keep together, and the
            portrait stays solid beyond the footage's poses; else head and torso are each supervised over the footage.
        refinement: poses and channels of the training frames are corrected.
        prior: Gaussians follow the tracked mesh; else the branches have to learn all motion of the face.
    """

    alternation: bool = True
    consistency: bool = True
    refinement: bool = True
    prior: bool = True


@dataclass(frozen=True)
class Preset:
    """One quality level.

    Attributes:
        size: side of the training crops in pixels.
        spacing: distance between neighbouring Gaussians on plain skin, in pixels of the crop.
        warm_up: steps in which branches rest and only the static picture is learned.
        cycles, cycle: alternating cycles, and steps per cycle: a third oral, a third facial, a third poses and looks.
        joint: steps in which everything is polished together.
        budget: Gaussians at most; each cycle begins with splitting those that carry most error, until it is spent.
        other_backgrounds: share of steps over a made-up background, so that alpha is clean over any plate.
        uncorrected: share of steps that take poses and channels as they were tracked, so that the model forgives
            errors of tracking and does not rely on corrections that new footage will not have.
        facial, oral, rigid: shapes per branch.
        method: which parts of the method are used.
    """

    size: int = 256
    spacing: float = 1.9
    warm_up: int = 300
    cycles: int = 5
    cycle: int = 450
    joint: int = 2400
    budget: int = 16_000
    other_backgrounds: float = 0.3
    uncorrected: float = 0.5
    facial: int = 20
    oral: int = 16
    rigid: int = 8
    rates: Rates = field(default_factory=Rates)
    weights: Weights = field(default_factory=Weights)
    method: Method = field(default_factory=Method)

    @property
    def initial(self) -> InitialPortrait:
        """How the portrait is laid out before training."""
        return InitialPortrait(self.spacing, self.facial, self.oral, self.rigid, self.method.prior)

    @property
    def steps(self) -> int:
        """All steps together."""
        return self.warm_up + self.cycles * self.cycle + self.joint


PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        size=96, spacing=2.4, warm_up=60, cycles=2, cycle=60, joint=120, budget=3_000, facial=8, oral=8, rigid=4
    ),
    "draft": Preset(),
    "standard": Preset(warm_up=500, cycles=8, cycle=1000, joint=7500, budget=24_000),
    "final": Preset(size=512, spacing=2.2, warm_up=800, cycles=10, cycle=1200, joint=12000, budget=40_000),
}

WARM_UP, ORAL, FACIAL, POSE, JOINT = "static", "oral", "facial", "pose", "joint"


def growth(preset: Preset, step: int, count: int) -> int | None:
    """How many Gaussians there shall be from this step on, of `count` now; None where nothing changes.

    They reach the budget in equal parts, at the beginnings of the cycles.
    """
    since = step - preset.warm_up
    if since < 0 or since % preset.cycle or since >= preset.cycles * preset.cycle:
        return None
    left = preset.cycles - since // preset.cycle
    return count + max(preset.budget - count, 0) // left


def phase(preset: Preset, step: int) -> str:
    """Which phase a step of the schedule belongs to."""
    if step < preset.warm_up:
        return WARM_UP
    step -= preset.warm_up
    if step >= preset.cycles * preset.cycle or not preset.method.alternation:
        return JOINT
    return (ORAL, FACIAL, POSE)[step % preset.cycle * 3 // preset.cycle]
