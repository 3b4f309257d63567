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
from ..portrait.model import Moved, Portrait
from .config import FACIAL, JOINT, ORAL, POSE, WARM_UP, Preset, growth, phase
from .densification import next_selection, split
from .ema import Average
from .extrapolated_poses import FarPoses, gap_loss
from .losses import apart_loss, picture_loss
from .pose_refinement import Corrections, tracked_pose
from .regularizers import Home, NeckPairs, Restraint

CHECKPOINT = Path("checkpoints", "training.safetensors")
CHECKPOINT_EVERY, FETCH_EVERY, SOLID_EVERY = 1000, 10, 5
RARE_SHARE, SHUT, OPEN = 0.25, 0.5, 0.35  # of a phase's steps; channels from which an eye is shut and a mouth open
FINAL_RATE, FINAL_CORRECTION = 0.02, 0.3  # learning rates end at this share of where they began


class Trainer:
    """One training run over one actor; the order of frames depends only on the seed."""

    def __init__(self, clip: Clip, portrait: Portrait, preset: Preset, seed: int) -> None:
        self.clip, self.portrait, self.preset = clip, portrait, preset
        self.corrections = Corrections(clip.train_count).to(clip.device)
        self._find_neighbours()
        self.home = Home(portrait)
        self.far_poses = FarPoses(clip)
        self.average = Average(portrait, preset.steps)
        self.rng = np.random.default_rng(seed)
        self.order: list[int] = []
        self.rare = {FACIAL: clip.rows_beyond("eyeBlink", SHUT), ORAL: clip.rows_beyond("jawOpen", OPEN)}
        self.step_number = 0
        self.optimiser = self._optimiser()
        portrait.learn_range([tracked_pose(clip.poses, row) for row in clip.train_rows.tolist()])

    def _optimiser(self) -> torch.optim.Adam:
        p, rates = self.portrait, self.preset.rates
        branches = {"oral": p.oral, "facial": p.facial, "rigid": p.rigid}
        groups = [
            {"name": "means", "params": [p.means], "lr": rates.means},
            {"name": "scales", "params": [p.log_scales], "lr": rates.scales},
            {"name": "quats", "params": [p.quats], "lr": rates.quats},
            {"name": "opacities", "params": [p.opacity_logits], "lr": rates.opacities},
            {"name": "colours", "params": [p.colours], "lr": rates.colours},
            {"name": "skin", "params": [p.skin_logits], "lr": rates.skin},
        ]
        for name, branch in branches.items():
            groups.append({"name": f"{name}.basis", "params": [branch.basis], "lr": rates.basis})
            network = [*branch.network.parameters(), *branch.linear.parameters()]
            groups.append({"name": f"{name}.network", "params": network, "lr": rates.network})
        for group in groups:
            group["start"] = group["lr"]
        return torch.optim.Adam(groups, eps=1e-15, fused=self.clip.device.type == "cpu")

    def _learns(self, name: str, part: str) -> bool:
        """Whether the parameter group learns in this phase of the schedule."""
        if part == WARM_UP:
            return "." not in name
        if name.startswith(("oral", "facial")):
            return part == JOINT or name.startswith(part)
        return True

    def step(self) -> float:
        """One optimisation step on one frame; returns the loss."""
        part = phase(self.preset, self.step_number)
        self._densify()
        done = self.step_number / self.preset.steps
        for group in self.optimiser.param_groups:
            group["lr"] = group["start"] * FINAL_RATE**done
            for parameter in group["params"]:
                parameter.requires_grad_(self._learns(group["name"], part))
        refines = self.preset.method.refinement and part in (POSE, JOINT)
        self.corrections.requires_grad_(refines)
        row = self._next_frame(part)
        loss = self._loss(row, part)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.restraint.add_gradient()
        self.home.add_gradient()
        self.optimiser.step()
        if refines:
            rates, left = self.preset.rates, FINAL_CORRECTION**done
            pose, channels = rates.pose * left, rates.channels * left
            self.corrections.learn(row, {"head": pose, "torso": pose, "channels": channels})
        if self.step_number % FETCH_EVERY == 0:
            self.home.fetch()
        self.step_number += 1
        self.average.look(self.step_number)
        return float(loss.detach())

    def _densify(self) -> None:
        """At the beginning of a cycle: splits the Gaussians that carry most error, takes out those that do nothing."""
        budget = growth(self.preset, self.step_number, self.portrait.size.gaussians)
        if budget is None:
            return
        portrait = self.portrait
        source, halves = next_selection(self.clip, portrait, self.corrections, self.preset.weights, budget, self.rng)
        replaced, state = portrait.reselect(source), self.optimiser.state
        self.home.reselect(source)
        for group in self.optimiser.param_groups:
            group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
        for before, (after, change) in replaced.items():
            moments = state.pop(before, {})
            state[after] = {name: value if name == "step" else change(value) for name, value in moments.items()}
        split(portrait, halves)
        self._find_neighbours()

    def _find_neighbours(self) -> None:
        """Again whenever there are other Gaussians."""
        self.neck, self.restraint = NeckPairs(self.portrait), Restraint(self.portrait, self.preset.weights)

    def _next_frame(self, part: str) -> int:
        """Every frame in turn; in between what is rare: shut eyes in facial phases, open mouths in oral ones."""
        rare = self.rare.get(part, ())
        if len(rare) and self.rng.random() < RARE_SHARE:
            return int(self.rng.choice(rare))
        if not self.order:
            self.order = self.rng.permutation(self.clip.train_rows).tolist()
        return self.order.pop()

    def _loss(self, row: int, part: str) -> Tensor:
        weights = self.preset.weights
        sample = self.clip.sample(row, weights.pixels)
        if self.rng.random() < self.preset.other_backgrounds:
            sample = self.clip.on_background(sample, self._background(sample.person.shape))
        pose = tracked_pose(self.clip.poses, row)
        if self.rng.random() >= self.preset.uncorrected:
            pose = self.corrections.apply_to(pose, row)
        moved = self.portrait.move(pose)
        if not self.preset.method.consistency:
            return apart_loss(self.clip, self.portrait, moved, sample, row, weights)
        rgb, alpha = self._draw(moved, moved.colours)
        picture = rgb + (1 - alpha)[..., None] * sample.plate
        loss = picture_loss(picture, sample.picture, sample.weight, weights.ssim)
        loss = loss + weights.alpha * (alpha - sample.person).abs().mean()
        loss = loss + weights.neck * self.neck.strain(self.portrait.means, moved.means)
        if part == JOINT and self.step_number % SOLID_EVERY == 0:
            loss = loss + weights.solid * self._gaps()
        return loss

    def _gaps(self) -> Tensor:
        """What is not solid at a head pose beyond the footage."""
        moved = self.portrait.move(self.far_poses.draw(self.rng))
        nothing = torch.zeros_like(moved.opacities)[:, None]  # one feature, the fewest there can be: alpha is looked at
        return gap_loss(self._draw(moved, nothing)[1])

    def _draw(self, moved: Moved, features: Tensor) -> tuple[Tensor, Tensor]:
        """(size, size, C) features and (size, size) alpha."""
        clip = self.clip
        drawn, alpha, _ = self.portrait.draw(moved, features, clip.view, clip.intrinsics, clip.size, clip.size, False)
        return drawn, alpha

    def _background(self, shape: torch.Size) -> Tensor:
        """(H, W, 3) a colour that changes smoothly from corner to corner."""
        corners = self.rng.random((2, 2, 3), dtype=np.float32)
        picture = cv2.resize(corners, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(picture).to(self.clip.device)

    def save_checkpoint(self, folder: ActorFolder, inputs: str = "") -> None:
        """Writes everything that training needs to go on, as one file.

        Args:
            inputs: the fingerprint of what is learned from.

        Raises:
            UserError: it cannot be written.
        """
        state: dict[str, Tensor] = {f"portrait.{k}": v for k, v in self.portrait.state_dict().items()}
        state |= {f"corrections.{k}": v for k, v in self.corrections.state_dict().items()}
        state |= {f"home.{k}": v for k, v in self.home.tables.items()}
        state |= {f"average.{k}": v for k, v in self.average.tables.items()}
        for i, moments in self.optimiser.state_dict()["state"].items():
            state |= {f"adam.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        folder.make_folder(CHECKPOINT.parent.name)
        meta = {"inputs": inputs, "step": str(self.step_number), "size": json.dumps(asdict(self.portrait.size))}
        with folder.replacing(str(CHECKPOINT)) as part:
            part.write_bytes(save({k: v.detach().contiguous().cpu() for k, v in state.items()}, metadata=meta))

    @classmethod
    def resumed(cls, path: Path, clip: Clip, preset: Preset, inputs: str = "") -> Trainer | None:
        """The run that a checkpoint holds; None when there is none of these inputs, and training must start anew."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                meta = file.metadata()
                if meta["inputs"] != inputs:
                    return None
                state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            portrait = Portrait.of(_part(state, "portrait."), json.loads(meta["size"])).on(clip.device)
            step = int(meta["step"])
            if not 0 <= step < preset.steps:
                raise ValueError("step")
            trainer = cls(clip, portrait, preset, seed=step)
            trainer._take(state)
        except (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError):
            return None
        trainer.step_number = step
        trainer.rng = np.random.default_rng([step])
        return trainer

    def _take(self, state: dict[str, Tensor]) -> None:
        """Takes over what a checkpoint holds beside the portrait.

        Raises:
            LookupError, ValueError: it does not fit.
        """
        corrections, home, average, adam = (_part(state, p) for p in ("corrections.", "home.", "average.", "adam."))
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in adam.items():
            row, name = key.split(".")
            if value.shape != (() if name == "step" else parameters[int(row)].shape) or not value.isfinite().all():
                raise ValueError(key)
            moments.setdefault(int(row), {})[name] = value
        tables = [(corrections, self.corrections.state_dict()), (home, self.home.tables)]
        tables += [(average, dict(self.portrait.named_parameters()))] if average else []
        for found, wanted in tables:
            if _kinds(found) != _kinds(wanted) or not all(value.isfinite().all() for value in found.values()):
                raise ValueError("shapes")
        self.corrections.load_state_dict(corrections)
        self.home.take({name: value.to(self.clip.device) for name, value in home.items()})
        self.average.tables = {name: value.to(self.clip.device) for name, value in average.items()}
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _kinds(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in state.items()}


def train(
    folder: ActorFolder,
    clip: Clip,
    portrait: Portrait,
    preset: Preset,
    seed: int,
    reporter: Reporter,
    inputs: str = "",
) -> float:
    """Trains and writes `model.safetensors`; returns the seconds it took in this run.

    Args:
        inputs: the fingerprint of what is learned from; a checkpoint of anything else is not used.

    Raises:
        UserError: the folder cannot be written.
        Cancelled: the next run goes on from this step.
    """
    torch.manual_seed(seed)
    checkpoint = folder.file(str(CHECKPOINT))
    trainer = Trainer.resumed(checkpoint, clip, preset, inputs)
    if trainer is None:
        trainer = Trainer(clip, portrait, preset, seed)
    else:
        reporter.note(f"Training goes on from step {trainer.step_number} of {preset.steps}.")
    started = time.perf_counter()
    try:
        while trainer.step_number < preset.steps:
            reporter.progress("train the actor", trainer.step_number, preset.steps)
            trainer.step()
            if trainer.step_number % CHECKPOINT_EVERY == 0 and trainer.step_number < preset.steps:
                trainer.save_checkpoint(folder, inputs)
        reporter.progress("train the actor", preset.steps, preset.steps)
    except Cancelled:
        trainer.save_checkpoint(folder, inputs)
        raise
    trainer.portrait.save(folder)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    return time.perf_counter() - started
