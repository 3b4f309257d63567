"""Alternating optimization: static warm-up, then cycles of oral, facial and pose phases, then a joint phase."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict

import cv2
import numpy as np
import torch
from torch import Tensor

from ..contract.actor_folder import ActorFolder
from ..contract.errors import Cancelled
from ..contract.progress import Reporter
from ..dataset.clip import Clip
from ..portrait.model import Portrait
from .checkpoint import (
    CHECKPOINT_PATH,
    OTHER_MODEL,
    Checkpoint,
    UnusableCheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from .config import (
    FACIAL_PHASE,
    JOINT_PHASE,
    ORAL_PHASE,
    POSE_PHASE,
    WARM_UP_PHASE,
    Preset,
    next_gaussian_count,
    phase_at_step,
)
from .densification import plan_densification, split_gaussians
from .ema import ExponentialMovingAverage
from .extrapolated_poses import PoseExtrapolator, hole_loss
from .losses import image_loss, separate_parts_loss
from .pose_refinement import PoseRefinement, pose_from_tables
from .regularizers import NeckConsistency, OffsetRegularizer, SeedAnchor

STAGE = "train the actor"

# Steps between checkpoints: a killed process loses as many at most. Not tuned.
CHECKPOINT_INTERVAL_STEPS = 1000
# Steps between projections of the means to near their seeds: a step moves them by a tenth of the limit at most.
DISPLACEMENT_LIMIT_INTERVAL_STEPS = 10
# Steps between hole losses, each of which costs one more rasterization. Not tuned.
HOLE_LOSS_INTERVAL_STEPS = 5
# Share of the oral and facial phases' steps on frames that show a rare expression: larger learns it better and
# everything else worse. Not tuned.
RARE_FRAME_SHARE = 0.25
# Channel value above which an eye counts as shut.
MIN_SHUT_EYE = 0.5
# Channel value above which a mouth counts as wide open.
MIN_OPEN_JAW = 0.35
# Learning rates at the end relative to the start, reached exponentially. Not tuned.
FINAL_LEARNING_RATE_SCALE = 0.02
# The same for the pose refinement. Not tuned.
FINAL_REFINEMENT_RATE_SCALE = 0.3
# Adam's epsilon as in 3D Gaussian splatting: gradients per Gaussian are tiny, a usual epsilon would slow them.
ADAM_EPSILON = 1e-15


class Trainer:
    """One training run over one actor. The order of the frames depends only on the seed."""

    def __init__(self, clip: Clip, portrait: Portrait, preset: Preset, seed: int) -> None:
        self.clip, self.portrait, self.preset = clip, portrait, preset
        self.pose_refinement = PoseRefinement(clip.train_frame_count).to(clip.device)
        self._rebuild_neighbor_losses()
        self.seed_anchor = SeedAnchor(portrait)
        self.pose_extrapolator = PoseExtrapolator(clip)
        self.moving_average = ExponentialMovingAverage(portrait, preset.total_steps)
        self.rng = np.random.default_rng(seed)
        self.remaining_frames: list[int] = []
        self.rare_frames = {
            FACIAL_PHASE: clip.frames_with_channel_above("eyeBlink", MIN_SHUT_EYE),
            ORAL_PHASE: clip.frames_with_channel_above("jawOpen", MIN_OPEN_JAW),
        }
        self.step_number = 0
        self.optimizer = self._build_optimizer()
        portrait.fit_control_ranges([pose_from_tables(clip.poses, i) for i in clip.train_frame_indices.tolist()])

    def _build_optimizer(self) -> torch.optim.Adam:
        p, rates = self.portrait, self.preset.learning_rates
        branches = {"oral": p.oral, "facial": p.facial, "rigid": p.rigid}
        groups = [
            {"name": "means", "params": [p.means], "lr": rates.means},
            {"name": "scales", "params": [p.log_scales], "lr": rates.scales},
            {"name": "quats", "params": [p.quats], "lr": rates.quats},
            {"name": "opacities", "params": [p.opacity_logits], "lr": rates.opacities},
            {"name": "colours", "params": [p.colours], "lr": rates.colors},
            {"name": "skin", "params": [p.skin_logits], "lr": rates.skinning},
        ]
        for name, branch in branches.items():
            groups.append({"name": f"{name}.basis", "params": [branch.basis], "lr": rates.basis})
            network = [*branch.network.parameters(), *branch.linear.parameters()]
            groups.append({"name": f"{name}.network", "params": network, "lr": rates.network})
        for group in groups:
            group["start"] = group["lr"]
        return torch.optim.Adam(groups, eps=ADAM_EPSILON, fused=self.clip.device.type == "cpu")

    def step(self) -> float:
        """Run one optimization step on one frame and return its loss."""
        phase = phase_at_step(self.preset, self.step_number)
        self._densify()
        progress = self.step_number / self.preset.total_steps
        for group in self.optimizer.param_groups:
            group["lr"] = group["start"] * FINAL_LEARNING_RATE_SCALE**progress
            for parameter in group["params"]:
                parameter.requires_grad_(_is_trainable(group["name"], phase))
        refines_poses = self.preset.method.refinement and phase in (POSE_PHASE, JOINT_PHASE)
        self.pose_refinement.requires_grad_(refines_poses)
        frame_index = self._next_frame_index(phase)
        loss = self._compute_loss(frame_index, phase)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.offset_regularizer.add_gradient()
        self.seed_anchor.add_gradient()
        self.optimizer.step()
        if refines_poses:
            rates, scale = self.preset.learning_rates, FINAL_REFINEMENT_RATE_SCALE**progress
            pose_rate, channel_rate = rates.pose * scale, rates.channels * scale
            self.pose_refinement.update_frame(
                frame_index, {"head": pose_rate, "torso": pose_rate, "channels": channel_rate}
            )
        if self.step_number % DISPLACEMENT_LIMIT_INTERVAL_STEPS == 0:
            self.seed_anchor.limit_displacement()
        self.step_number += 1
        self.moving_average.update(self.step_number)
        return float(loss.detach())

    def _densify(self) -> None:
        """At the beginning of a cycle, split the Gaussians with the largest error and remove transparent ones."""
        max_gaussians = next_gaussian_count(self.preset, self.step_number, self.portrait.size.gaussians)
        if max_gaussians is None:
            return
        portrait = self.portrait
        source_indices, split_pairs = plan_densification(
            self.clip, portrait, self.pose_refinement, self.preset.loss_weights, max_gaussians, self.rng
        )
        replaced, state = portrait.reindex_gaussians(source_indices), self.optimizer.state
        self.seed_anchor.reindex_gaussians(source_indices)
        for group in self.optimizer.param_groups:
            group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
        for before, (after, reindex) in replaced.items():
            moments = state.pop(before, {})
            state[after] = {name: value if name == "step" else reindex(value) for name, value in moments.items()}
        split_gaussians(portrait, split_pairs)
        self._rebuild_neighbor_losses()

    def _rebuild_neighbor_losses(self) -> None:
        """Find the neighbours again, after the Gaussians have changed."""
        self.neck_consistency = NeckConsistency(self.portrait)
        self.offset_regularizer = OffsetRegularizer(self.portrait, self.preset.loss_weights)

    def _next_frame_index(self, phase: str) -> int:
        """Return each frame in turn, interspersed with rare ones: shut eyes in facial, open mouths in oral phases."""
        rare = self.rare_frames.get(phase, ())
        if len(rare) and self.rng.random() < RARE_FRAME_SHARE:
            return int(self.rng.choice(rare))
        if not self.remaining_frames:
            self.remaining_frames = self.rng.permutation(self.clip.train_frame_indices).tolist()
        return self.remaining_frames.pop()

    def _compute_loss(self, frame_index: int, phase: str) -> Tensor:
        weights = self.preset.loss_weights
        frame = self.clip.load_training_frame(frame_index, weights.pixels)
        if self.rng.random() < self.preset.random_background_share:
            frame = self.clip.replace_background(frame, self._random_background(frame.person_alpha.shape))
        pose = pose_from_tables(self.clip.poses, frame_index)
        if self.rng.random() >= self.preset.unrefined_pose_share:
            pose = self.pose_refinement.refine_pose(pose, frame_index)
        gaussians = self.portrait.deform(pose)
        if not self.preset.method.consistency:
            return separate_parts_loss(self.clip, self.portrait, gaussians, frame, frame_index, weights)
        rgb, alpha, _ = self.portrait.rasterize_features(gaussians, gaussians.colors, self.clip.camera, False)
        image = frame.composite_over_plate(rgb, alpha)
        loss = image_loss(image, frame.image, frame.pixel_weight, weights.ssim)
        loss = loss + weights.alpha * (alpha - frame.person_alpha).abs().mean()
        loss = loss + weights.neck_consistency * self.neck_consistency.loss(self.portrait.means, gaussians.means)
        if phase == JOINT_PHASE and self.step_number % HOLE_LOSS_INTERVAL_STEPS == 0:
            loss = loss + weights.hole * self._hole_loss()
        return loss

    def _hole_loss(self) -> Tensor:
        """Return the loss of missing opacity at a random head pose beyond the footage."""
        gaussians = self.portrait.deform(self.pose_extrapolator.sample_pose(self.rng))
        features = torch.zeros_like(gaussians.opacities)[:, None]  # only alpha is used; one feature is the minimum
        _, alpha, _ = self.portrait.rasterize_features(gaussians, features, self.clip.camera, False)
        return hole_loss(alpha)

    def _random_background(self, shape: torch.Size) -> Tensor:
        """Return an image (H, W, 3) of a colour that changes smoothly from corner to corner."""
        corners = self.rng.random((2, 2, 3), dtype=np.float32)
        image = cv2.resize(corners, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(image).to(self.clip.device)

    def to_checkpoint(self, input_fingerprint: str) -> Checkpoint:
        """Return the state between two steps; its tensors are those of the running training, not copies."""
        moments = {
            index: {name: torch.as_tensor(value) for name, value in state.items()}
            for index, state in self.optimizer.state_dict()["state"].items()
        }
        return Checkpoint(
            input_fingerprint,
            self.step_number,
            asdict(self.portrait.size),
            dict(self.portrait.state_dict()),
            dict(self.pose_refinement.state_dict()),
            self.seed_anchor.seed_parameters,
            self.moving_average.averages,
            moments,
        )

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, clip: Clip, preset: Preset) -> Trainer:
        """Return a run that continues from a checkpoint.

        Raises:
            UnusableCheckpointError: the checkpoint does not fit the clip, the preset or the model.
        """
        try:
            portrait = Portrait.from_tensors(checkpoint.portrait, checkpoint.portrait_size).to_device(clip.device)
            if not 0 <= checkpoint.step < preset.total_steps:
                raise ValueError("step")
            trainer = cls(clip, portrait, preset, seed=checkpoint.step)
            trainer._restore_state(checkpoint)
        except (LookupError, ValueError, TypeError, RuntimeError) as error:
            raise UnusableCheckpointError(OTHER_MODEL) from error
        trainer.step_number = checkpoint.step
        trainer.rng = np.random.default_rng([checkpoint.step])
        return trainer

    def _restore_state(self, checkpoint: Checkpoint) -> None:
        """Restore everything but the portrait from a checkpoint.

        Raises:
            LookupError: a parameter is missing.
            ValueError: shapes or types differ, or a value is not finite.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for index, moments in checkpoint.moments.items():
            for name, value in moments.items():
                if value.shape != (() if name == "step" else parameters[index].shape) or not value.isfinite().all():
                    raise ValueError(name)
        _check_state(checkpoint.refinement, self.pose_refinement.state_dict())
        _check_state(checkpoint.seeds, self.seed_anchor.seed_parameters)
        if checkpoint.averages:
            _check_state(checkpoint.averages, dict(self.portrait.named_parameters()))
        device = self.clip.device
        self.pose_refinement.load_state_dict(checkpoint.refinement)
        self.seed_anchor.set_seeds({name: value.to(device) for name, value in checkpoint.seeds.items()})
        self.moving_average.averages = {name: value.to(device) for name, value in checkpoint.averages.items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": checkpoint.moments})


def _is_trainable(group_name: str, phase: str) -> bool:
    """Whether a parameter group trains in this phase of the schedule."""
    if phase == WARM_UP_PHASE:
        return "." not in group_name
    if group_name.startswith((ORAL_PHASE, FACIAL_PHASE)):
        return phase == JOINT_PHASE or group_name.startswith(phase)
    return True


def _check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that a state has the expected names, shapes and types and is finite.

    Raises:
        ValueError: it has not.
    """
    found, wanted = ({name: (v.shape, v.dtype) for name, v in s.items()} for s in (state, expected))
    if found != wanted or not all(value.isfinite().all() for value in state.values()):
        raise ValueError("state")


def train_portrait(
    folder: ActorFolder,
    clip: Clip,
    portrait: Portrait,
    preset: Preset,
    seed: int,
    reporter: Reporter,
    input_fingerprint: str = "",
) -> float:
    """Train the portrait, from a checkpoint if there is a usable one, and write `model.safetensors`.

    Args:
        folder: the actor.
        clip: the frames of the actor.
        portrait: the untrained portrait; not used when training continues from a checkpoint.
        preset: the schedule.
        seed: seed of all random numbers.
        reporter: gets progress, and a note when training continues or a checkpoint is discarded.
        input_fingerprint: hash of the inputs; a checkpoint of other inputs is discarded.

    Returns:
        The seconds that this run took.

    Raises:
        UserError: the folder cannot be written.
        Cancelled: a checkpoint was written; the next run continues from it.
    """
    torch.manual_seed(seed)
    trainer = _resume_training(folder, clip, preset, input_fingerprint, reporter)
    if trainer is None:
        trainer = Trainer(clip, portrait, preset, seed)
    started = time.perf_counter()
    try:
        while trainer.step_number < preset.total_steps:
            reporter.progress(STAGE, trainer.step_number, preset.total_steps)
            trainer.step()
            if trainer.step_number % CHECKPOINT_INTERVAL_STEPS == 0 and trainer.step_number < preset.total_steps:
                write_checkpoint(folder, trainer.to_checkpoint(input_fingerprint))
        reporter.progress(STAGE, preset.total_steps, preset.total_steps)
    except Cancelled:
        write_checkpoint(folder, trainer.to_checkpoint(input_fingerprint))
        raise
    trainer.portrait.save(folder)
    shutil.rmtree(folder.file_path(str(CHECKPOINT_PATH)).parent, ignore_errors=True)
    return time.perf_counter() - started


def _resume_training(
    folder: ActorFolder, clip: Clip, preset: Preset, input_fingerprint: str, reporter: Reporter
) -> Trainer | None:
    """Return the run of the folder's checkpoint, or None if there is none that can be used."""
    try:
        checkpoint = read_checkpoint(folder.file_path(str(CHECKPOINT_PATH)), input_fingerprint)
        if checkpoint is None:
            return None
        trainer = Trainer.from_checkpoint(checkpoint, clip, preset)
    except UnusableCheckpointError as problem:
        reporter.note(f"Training starts from the beginning: {problem}")
        return None
    reporter.note(f"Training goes on from step {trainer.step_number} of {preset.total_steps}.")
    return trainer
