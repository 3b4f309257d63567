"""The presets of training: the size of an actor, the length of each phase, learning rates and loss weights.

The numbers were found on the train clips (build.py bench quality), unless a comment says otherwise. A larger learning
rate or weight makes its parameter or term act more strongly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dataset.clip import PixelWeights
from ..portrait.initialization import InitialPortrait


@dataclass(frozen=True)
class LearningRates:
    """Adam's learning rates at the start of training.

    They fall exponentially over training, see `trainer.FINAL_LEARNING_RATE_SCALE`. Those of the pose refinement fall
    less, see `trainer.FINAL_REFINEMENT_RATE_SCALE`: a frame is seen a few times only, and each time it has to move far.

    Attributes:
        means: metres.
        scales: natural logarithm of the Gaussians' size.
        quats: quaternion components before normalization.
        opacities: logit.
        colors: 0–1.
        skinning: logit of the head weight.
        basis: offsets of the branches (centimetres, 0–1 and logit).
        network: weights of the branches' networks.
        pose: step of a frame's pose at a usual gradient, radians and decimetres.
        channels: step of a frame's channels at a usual gradient, 0–1.
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
    """The weight of each term of the loss.

    Attributes:
        ssim: structural dissimilarity; L1 gets the rest to 1. 0.2 as in 3D Gaussian splatting (Kerbl et al., 2023).
        alpha: difference between alpha and the person matte.
        offset_magnitude: mean absolute learned offset; keeps the branches near the identity.
        offset_coherence: difference of learned offsets between neighbouring Gaussians of a branch.
        neck_consistency: difference of motion between neighbouring Gaussians of head and torso.
        hole: missing opacity inside the outline at head poses beyond the footage.
        pixels: weights of the pixels by the part of the person that they show.
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
    """The parts of the method. An ablation switches each of them off once to measure its worth.

    Attributes:
        alternation: train in oral, facial and pose phases, in each of which the other parts are frozen; else all parts
            train at once.
        consistency: supervise head and torso as one portrait, keep neighbours at the neck together, and keep the
            portrait opaque beyond the footage's poses; else supervise head and torso separately over the footage.
        refinement: refine poses and channels of the training frames.
        prior: let Gaussians follow the tracked mesh; else the branches have to learn all motion of the face.
    """

    alternation: bool = True
    consistency: bool = True
    refinement: bool = True
    prior: bool = True


@dataclass(frozen=True)
class Preset:
    """One quality level.

    Attributes:
        crop_size: side of the training crops in pixels.
        spacing: distance between neighbouring Gaussians on plain skin, in pixels of the crop.
        warm_up_steps: steps in which the branches are frozen and only the static image is learned.
        cycle_count: number of alternating cycles.
        cycle_steps: steps per cycle: a third oral, a third facial, a third poses.
        joint_steps: steps at the end in which all parts train together.
        max_gaussians: maximum number of Gaussians. Each cycle begins by splitting those with the largest error until
            it is reached.
        random_background_share: share 0–1 of steps over a random background, so that alpha is clean over any plate.
        unrefined_pose_share: share 0–1 of steps with poses and channels as tracked, so that the model tolerates
            tracking errors and does not depend on a refinement that new footage will not have.
        facial_shapes: learned shapes of the facial branch.
        oral_shapes: learned shapes of the oral branch.
        rigid_shapes: learned shapes of the rigid branch.
        learning_rates: Adam's learning rates.
        loss_weights: weights of the loss terms.
        method: parts of the method that are used.
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
        """The layout of the portrait before training."""
        return InitialPortrait(self.spacing, self.facial_shapes, self.oral_shapes, self.rigid_shapes, self.method.prior)

    @property
    def total_steps(self) -> int:
        """Number of steps of all phases together."""
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

WARM_UP_PHASE = "static"
ORAL_PHASE = "oral"
FACIAL_PHASE = "facial"
POSE_PHASE = "pose"
JOINT_PHASE = "joint"
ALTERNATING_PHASES = (ORAL_PHASE, FACIAL_PHASE, POSE_PHASE)  # equal parts of each cycle, in this order


def next_gaussian_count(preset: Preset, step: int, current_count: int) -> int | None:
    """Return the number of Gaussians to have from this step on, or None if it does not change.

    The count grows to `Preset.max_gaussians` in equal parts, one at the beginning of each cycle.
    """
    cycle_step = step - preset.warm_up_steps
    if cycle_step < 0 or cycle_step % preset.cycle_steps or cycle_step >= preset.cycle_count * preset.cycle_steps:
        return None
    remaining_cycles = preset.cycle_count - cycle_step // preset.cycle_steps
    return current_count + max(preset.max_gaussians - current_count, 0) // remaining_cycles


def phase_at_step(preset: Preset, step: int) -> str:
    """Return the phase that a step of the schedule belongs to."""
    if step < preset.warm_up_steps:
        return WARM_UP_PHASE
    step -= preset.warm_up_steps
    if step >= preset.cycle_count * preset.cycle_steps or not preset.method.alternation:
        return JOINT_PHASE
    position = step % preset.cycle_steps
    return ALTERNATING_PHASES[position * len(ALTERNATING_PHASES) // preset.cycle_steps]
