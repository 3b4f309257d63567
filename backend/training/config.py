"""The presets: how large an actor is and how long each phase of training lasts. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dataset.clip import PixelWeights
from ..portrait.initialization import InitialPortrait


@dataclass(frozen=True)
class LearningRates:
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
    colors: float = 1e-2
    skinning: float = 2e-2
    basis: float = 4e-3
    network: float = 2e-3
    pose: float = 3e-3
    channels: float = 3e-2


@dataclass(frozen=True)
class LossWeights:
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
    offset_magnitude: float = 1e-3
    offset_coherence: float = 0.1
    neck_consistency: float = 0.05
    hole: float = 1.0
    pixels: PixelWeights = field(default_factory=PixelWeights)


@dataclass(frozen=True)
class MethodSwitches:
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

    crop_size: int = 256
    spacing: float = 1.9
    warm_up_steps: int = 300
    cycle_count: int = 5
    cycle_steps: int = 450
    joint_steps: int = 2400
    max_gaussians: int = 16_000
    random_background_share: float = 0.3
    unrefined_pose_share: float = 0.5
    facial_shapes: int = 20
    oral_shapes: int = 16
    rigid_shapes: int = 8
    learning_rates: LearningRates = field(default_factory=LearningRates)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    method: MethodSwitches = field(default_factory=MethodSwitches)

    @property
    def initial(self) -> InitialPortrait:
        """How the portrait is laid out before training."""
        return InitialPortrait(self.spacing, self.facial_shapes, self.oral_shapes, self.rigid_shapes, self.method.prior)

    @property
    def total_steps(self) -> int:
        """All steps together."""
        return self.warm_up_steps + self.cycle_count * self.cycle_steps + self.joint_steps


PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        crop_size=96,
        spacing=2.4,
        warm_up_steps=60,
        cycle_count=2,
        cycle_steps=60,
        joint_steps=120,
        max_gaussians=3_000,
        facial_shapes=8,
        oral_shapes=8,
        rigid_shapes=4,
    ),
    "draft": Preset(),
    "standard": Preset(warm_up_steps=500, cycle_count=8, cycle_steps=1000, joint_steps=7500, max_gaussians=24_000),
    "final": Preset(
        crop_size=512,
        spacing=2.2,
        warm_up_steps=800,
        cycle_count=10,
        cycle_steps=1200,
        joint_steps=12000,
        max_gaussians=40_000,
    ),
}

WARM_UP_PHASE, ORAL_PHASE, FACIAL_PHASE, POSE_PHASE, JOINT_PHASE = "static", "oral", "facial", "pose", "joint"


def next_gaussian_count(preset: Preset, step: int, current_count: int) -> int | None:
    """How many Gaussians there shall be from this step on, of `count` now; None where nothing changes.

    They reach the budget in equal parts, at the beginnings of the cycles.
    """
    since = step - preset.warm_up_steps
    if since < 0 or since % preset.cycle_steps or since >= preset.cycle_count * preset.cycle_steps:
        return None
    left = preset.cycle_count - since // preset.cycle_steps
    return current_count + max(preset.max_gaussians - current_count, 0) // left


def phase_at_step(preset: Preset, step: int) -> str:
    """Which phase a step of the schedule belongs to."""
    if step < preset.warm_up_steps:
        return WARM_UP_PHASE
    step -= preset.warm_up_steps
    if step >= preset.cycle_count * preset.cycle_steps or not preset.method.alternation:
        return JOINT_PHASE
    return (ORAL_PHASE, FACIAL_PHASE, POSE_PHASE)[step % preset.cycle_steps * 3 // preset.cycle_steps]
