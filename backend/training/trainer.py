"""Alternating optimisation: static warm-up, then cycles of oral, facial and pose phases, then a joint polish."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..contract.actor_folder import ActorFolder
from ..contract.errors import Cancelled
from ..contract.progress import Reporter
from ..dataset.clip import Clip
from ..portrait.model import Portrait
from ..rasterizer import Gaussians
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

CHECKPOINT_PATH = Path("checkpoints", "training.safetensors")
CHECKPOINT_INTERVAL_STEPS, DISPLACEMENT_LIMIT_INTERVAL_STEPS, HOLE_LOSS_INTERVAL_STEPS = 1000, 10, 5
RARE_FRAME_SHARE, MIN_SHUT_EYE, MIN_OPEN_JAW = (
    0.25,
    0.5,
    0.35,
)  # of a phase's steps; channels from which an eye is shut and a mouth open
FINAL_LEARNING_RATE_SCALE, FINAL_REFINEMENT_RATE_SCALE = (
    0.02,
    0.3,
)  # learning rates end at this share of where they began


class Trainer:
    """One training run over one actor; the order of frames depends only on the seed."""

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
        portrait.fit_control_ranges([pose_from_tables(clip.poses, row) for row in clip.train_frame_indices.tolist()])

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
        return torch.optim.Adam(groups, eps=1e-15, fused=self.clip.device.type == "cpu")

    def _is_trainable(self, group_name: str, phase: str) -> bool:
        """Whether the parameter group learns in this phase of the schedule."""
        if phase == WARM_UP_PHASE:
            return "." not in group_name
        if group_name.startswith(("oral", "facial")):
            return phase == JOINT_PHASE or group_name.startswith(phase)
        return True

    def step(self) -> float:
        """One optimisation step on one frame; returns the loss."""
        part = phase_at_step(self.preset, self.step_number)
        self._densify()
        done = self.step_number / self.preset.total_steps
        for group in self.optimizer.param_groups:
            group["lr"] = group["start"] * FINAL_LEARNING_RATE_SCALE**done
            for parameter in group["params"]:
                parameter.requires_grad_(self._is_trainable(group["name"], part))
        refines = self.preset.method.refinement and part in (POSE_PHASE, JOINT_PHASE)
        self.pose_refinement.requires_grad_(refines)
        row = self._next_frame_index(part)
        loss = self._compute_loss(row, part)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.offset_regularizer.add_gradient()
        self.seed_anchor.add_gradient()
        self.optimizer.step()
        if refines:
            rates, left = self.preset.learning_rates, FINAL_REFINEMENT_RATE_SCALE**done
            pose, channels = rates.pose * left, rates.channels * left
            self.pose_refinement.update_frame(row, {"head": pose, "torso": pose, "channels": channels})
        if self.step_number % DISPLACEMENT_LIMIT_INTERVAL_STEPS == 0:
            self.seed_anchor.limit_displacement()
        self.step_number += 1
        self.moving_average.update(self.step_number)
        return float(loss.detach())

    def _densify(self) -> None:
        """At the beginning of a cycle: splits the Gaussians that carry most error, takes out those that do nothing."""
        budget = next_gaussian_count(self.preset, self.step_number, self.portrait.size.gaussians)
        if budget is None:
            return
        portrait = self.portrait
        source, halves = plan_densification(
            self.clip, portrait, self.pose_refinement, self.preset.loss_weights, budget, self.rng
        )
        replaced, state = portrait.reindex_gaussians(source), self.optimizer.state
        self.seed_anchor.reindex_gaussians(source)
        for group in self.optimizer.param_groups:
            group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
        for before, (after, change) in replaced.items():
            moments = state.pop(before, {})
            state[after] = {name: value if name == "step" else change(value) for name, value in moments.items()}
        split_gaussians(portrait, halves)
        self._rebuild_neighbor_losses()

    def _rebuild_neighbor_losses(self) -> None:
        """Again whenever there are other Gaussians."""
        self.neck_consistency, self.offset_regularizer = (
            NeckConsistency(self.portrait),
            OffsetRegularizer(self.portrait, self.preset.loss_weights),
        )

    def _next_frame_index(self, phase: str) -> int:
        """Every frame in turn; in between what is rare: shut eyes in facial phases, open mouths in oral ones."""
        rare = self.rare_frames.get(phase, ())
        if len(rare) and self.rng.random() < RARE_FRAME_SHARE:
            return int(self.rng.choice(rare))
        if not self.remaining_frames:
            self.remaining_frames = self.rng.permutation(self.clip.train_frame_indices).tolist()
        return self.remaining_frames.pop()

    def _compute_loss(self, frame_index: int, phase: str) -> Tensor:
        weights = self.preset.loss_weights
        sample = self.clip.load_training_frame(frame_index, weights.pixels)
        if self.rng.random() < self.preset.random_background_share:
            sample = self.clip.replace_background(sample, self._random_background(sample.person_alpha.shape))
        pose = pose_from_tables(self.clip.poses, frame_index)
        if self.rng.random() >= self.preset.unrefined_pose_share:
            pose = self.pose_refinement.refine_pose(pose, frame_index)
        moved = self.portrait.deform(pose)
        if not self.preset.method.consistency:
            return separate_parts_loss(self.clip, self.portrait, moved, sample, frame_index, weights)
        rgb, alpha = self._rasterize(moved, moved.colors)
        picture = rgb + (1 - alpha)[..., None] * sample.plate
        loss = image_loss(picture, sample.image, sample.pixel_weight, weights.ssim)
        loss = loss + weights.alpha * (alpha - sample.person_alpha).abs().mean()
        loss = loss + weights.neck_consistency * self.neck_consistency.loss(self.portrait.means, moved.means)
        if phase == JOINT_PHASE and self.step_number % HOLE_LOSS_INTERVAL_STEPS == 0:
            loss = loss + weights.hole * self._hole_loss()
        return loss

    def _hole_loss(self) -> Tensor:
        """What is not solid at a head pose beyond the footage."""
        moved = self.portrait.deform(self.pose_extrapolator.sample_pose(self.rng))
        nothing = torch.zeros_like(moved.opacities)[:, None]  # one feature, the fewest there can be: alpha is looked at
        return hole_loss(self._rasterize(moved, nothing)[1])

    def _rasterize(self, gaussians: Gaussians, features: Tensor) -> tuple[Tensor, Tensor]:
        """(size, size, C) features and (size, size) alpha."""
        clip = self.clip
        drawn, alpha, _ = self.portrait.rasterize_features(gaussians, features, clip.camera, False)
        return drawn, alpha

    def _random_background(self, shape: torch.Size) -> Tensor:
        """(H, W, 3) a colour that changes smoothly from corner to corner."""
        corners = self.rng.random((2, 2, 3), dtype=np.float32)
        picture = cv2.resize(corners, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(picture).to(self.clip.device)

    def save_checkpoint(self, folder: ActorFolder, input_fingerprint: str = "") -> None:
        """Writes everything that training needs to go on, as one file.

        Args:
            inputs: the fingerprint of what is learned from.

        Raises:
            UserError: it cannot be written.
        """
        state: dict[str, Tensor] = {f"portrait.{k}": v for k, v in self.portrait.state_dict().items()}
        state |= {f"corrections.{k}": v for k, v in self.pose_refinement.state_dict().items()}
        state |= {f"home.{k}": v for k, v in self.seed_anchor.seed_parameters.items()}
        state |= {f"average.{k}": v for k, v in self.moving_average.averages.items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        folder.make_folder(CHECKPOINT_PATH.parent.name)
        meta = {
            "inputs": input_fingerprint,
            "step": str(self.step_number),
            "size": json.dumps(asdict(self.portrait.size)),
        }
        with folder.write_atomically(str(CHECKPOINT_PATH)) as part:
            part.write_bytes(save({k: v.detach().contiguous().cpu() for k, v in state.items()}, metadata=meta))

    @classmethod
    def resume(cls, path: Path, clip: Clip, preset: Preset, input_fingerprint: str = "") -> Trainer | None:
        """The run that a checkpoint holds; None when there is none of these inputs, and training must start anew."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                meta = file.metadata()
                if meta["inputs"] != input_fingerprint:
                    return None
                state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            portrait = Portrait.from_tensors(_strip_prefix(state, "portrait."), json.loads(meta["size"])).to_device(
                clip.device
            )
            step = int(meta["step"])
            if not 0 <= step < preset.total_steps:
                raise ValueError("step")
            trainer = cls(clip, portrait, preset, seed=step)
            trainer._restore_state(state)
        except (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError):
            return None
        trainer.step_number = step
        trainer.rng = np.random.default_rng([step])
        return trainer

    def _restore_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what a checkpoint holds beside the portrait.

        Raises:
            LookupError, ValueError: it does not fit.
        """
        corrections, home, average, adam = (
            _strip_prefix(state, p) for p in ("corrections.", "home.", "average.", "adam.")
        )
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in adam.items():
            row, name = key.split(".")
            if value.shape != (() if name == "step" else parameters[int(row)].shape) or not value.isfinite().all():
                raise ValueError(key)
            moments.setdefault(int(row), {})[name] = value
        tables = [(corrections, self.pose_refinement.state_dict()), (home, self.seed_anchor.seed_parameters)]
        tables += [(average, dict(self.portrait.named_parameters()))] if average else []
        for found, wanted in tables:
            if _shapes_and_types(found) != _shapes_and_types(wanted) or not all(
                value.isfinite().all() for value in found.values()
            ):
                raise ValueError("shapes")
        self.pose_refinement.load_state_dict(corrections)
        self.seed_anchor.set_seeds({name: value.to(self.clip.device) for name, value in home.items()})
        self.moving_average.averages = {name: value.to(self.clip.device) for name, value in average.items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})


def _strip_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _shapes_and_types(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in state.items()}


def train_portrait(
    folder: ActorFolder,
    clip: Clip,
    portrait: Portrait,
    preset: Preset,
    seed: int,
    reporter: Reporter,
    input_fingerprint: str = "",
) -> float:
    """Trains and writes `model.safetensors`; returns the seconds it took in this run.

    Args:
        inputs: the fingerprint of what is learned from; a checkpoint of anything else is not used.

    Raises:
        UserError: the folder cannot be written.
        Cancelled: the next run goes on from this step.
    """
    torch.manual_seed(seed)
    checkpoint = folder.file_path(str(CHECKPOINT_PATH))
    trainer = Trainer.resume(checkpoint, clip, preset, input_fingerprint)
    if trainer is None:
        trainer = Trainer(clip, portrait, preset, seed)
    else:
        reporter.note(f"Training goes on from step {trainer.step_number} of {preset.total_steps}.")
    started = time.perf_counter()
    try:
        while trainer.step_number < preset.total_steps:
            reporter.progress("train the actor", trainer.step_number, preset.total_steps)
            trainer.step()
            if trainer.step_number % CHECKPOINT_INTERVAL_STEPS == 0 and trainer.step_number < preset.total_steps:
                trainer.save_checkpoint(folder, input_fingerprint)
        reporter.progress("train the actor", preset.total_steps, preset.total_steps)
    except Cancelled:
        trainer.save_checkpoint(folder, input_fingerprint)
        raise
    trainer.portrait.save(folder)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    return time.perf_counter() - started
