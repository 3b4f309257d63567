"""The actor's picture: one set of Gaussians, moved by head, torso and channels.

Rest space is actor space at the rest pose. A frame is made in four steps: the tracked mesh's blend shapes carry every
Gaussian (the prior, so that each channel does something plausible), the facial, oral and rigid branches add what was
learned, head and torso poses move the result (the neck by smooth skinning), and the rasteriser draws it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..compute.rotations import quaternion_multiply, rotation_matrix
from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.channels import CHANNELS, ORAL_CHANNELS
from ..contract.errors import UserError
from ..contract.performance import Performance
from ..contract.safe_io import is_accessible_file
from ..rasterizer import CameraView, Gaussians, Implementation, RasterOutput, rasterize
from .branch import COLOR, OPACITY, POSITION, Branch
from .labels import LABEL_NAMES
from .storage import pack_state, unpack_state

MODEL_VERSION = 4
ORAL_CHANNEL_COUNT = len(ORAL_CHANNELS)
RIGID_CONTROL_COUNT = 12
METERS_PER_CENTIMETER = 0.01
MAX_PORTRAIT_SIZE = 2_000_000  # Gaussians, or shapes, of a model that is read
PER_GAUSSIAN_PARAMETERS = (
    "means",
    "quats",
    "log_scales",
    "opacity_logits",
    "colours",
    "skin_logits",
)  # a row for each Gaussian
TensorReindex = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PortraitSize:
    """How large the parts are.

    Attributes:
        gaussians: N. facial, oral, rigid: shapes (K) per branch. facial_members, oral_members: Gaussians they move.
        hidden: width of the facial and the oral branch's networks.
    """

    gaussians: int
    facial_members: int
    oral_members: int
    facial: int = 20
    oral: int = 16
    rigid: int = 8
    hidden: int = 48


class Pose(NamedTuple):
    """Where head and torso are and what the face does, for one frame."""

    head_rotation: Tensor  # (4,) wxyz, rest → actor space
    head_translation: Tensor  # (3,) metres
    torso_rotation: Tensor  # (4,)
    torso_translation: Tensor  # (3,)
    channels: Tensor  # (52,) 0–1

    @classmethod
    def from_performance(cls, performance: Performance, row: int, device: torch.device) -> Pose:
        """Return row `row` of a performance, in float32 on `device`."""
        values = (np.asarray(getattr(performance, name)[row], np.float32) for name in cls._fields)
        return cls(*(torch.as_tensor(value).to(device) for value in values))


class RenderedFrame(NamedTuple):
    """A rendered frame. Everything is premultiplied with its coverage."""

    rgb: Tensor  # (H, W, 3) display-referred sRGB
    alpha: Tensor  # (H, W)
    depth: Tensor  # (H, W) metres
    mattes: Tensor  # (H, W, 4) coverage of face, hair, mouth interior, torso


class Portrait(nn.Module):
    """See the module's description. Parameters are raw: log scales, opacity logits."""

    prior: Tensor
    growth: Tensor
    label: Tensor

    def __init__(self, size: PortraitSize) -> None:
        super().__init__()
        n = size.gaussians
        self.size = size
        self.means = nn.Parameter(torch.zeros(n, 3))
        self.quats = nn.Parameter(torch.tensor([1.0, 0, 0, 0]).repeat(n, 1))
        self.log_scales = nn.Parameter(torch.zeros(n, 3))
        self.opacity_logits = nn.Parameter(torch.zeros(n))
        self.colours = nn.Parameter(torch.zeros(n, 3))
        self.skin_logits = nn.Parameter(torch.zeros(n))  # share that follows the head
        self.register_buffer("prior", torch.zeros(len(CHANNELS), n * 3))
        self.register_buffer("growth", torch.zeros(len(CHANNELS), n))
        self.register_buffer("label", torch.zeros(n, dtype=torch.uint8))
        everyone = torch.arange(n)
        facial, oral = torch.zeros(size.facial_members).long(), torch.zeros(size.oral_members).long()
        self.facial = Branch(
            len(CHANNELS) - ORAL_CHANNEL_COUNT, size.facial, size.hidden, facial, torch.zeros(size.facial_members)
        )
        self.oral = Branch(ORAL_CHANNEL_COUNT, size.oral, size.hidden, oral, torch.zeros(size.oral_members))
        # no network: what it would learn of shading and cloth holds for the poses of the footage, not for new ones
        self.rigid = Branch(RIGID_CONTROL_COUNT, size.rigid, 0, everyone, torch.ones(n))
        self.method: Implementation = "cpu"

    def deform(self, pose: Pose) -> Gaussians:
        """The Gaussians as they stand in actor space for a pose."""
        channels = pose.channels
        rest = self.means + (channels @ self.prior).view(-1, 3)
        extra = self.rigid(rigid_controls(pose))
        extra = extra.index_add(0, self.oral.members, self.oral(channels[:ORAL_CHANNEL_COUNT]))
        extra = extra.index_add(0, self.facial.members, self.facial(channels[ORAL_CHANNEL_COUNT:]))
        rest = rest + extra[:, POSITION] * METERS_PER_CENTIMETER
        share = torch.sigmoid(self.skin_logits)[:, None]
        head = rest @ rotation_matrix(pose.head_rotation).T + pose.head_translation
        torso = rest @ rotation_matrix(pose.torso_rotation).T + pose.torso_translation
        near = torch.where((pose.head_rotation * pose.torso_rotation).sum() < 0, -1.0, 1.0)  # q and −q are one rotation
        turn = share * (near * pose.head_rotation) + (1 - share) * pose.torso_rotation
        return Gaussians(
            torso + share * (head - torso),
            quaternion_multiply(turn, self.quats),
            (self.log_scales + (channels @ self.growth)[:, None]).exp(),
            torch.sigmoid(self.opacity_logits + extra[:, OPACITY].squeeze(1)),
            self.colours + extra[:, COLOR],
        )

    @torch.no_grad()
    def fit_control_ranges(self, poses: Sequence[Pose]) -> None:
        """Keeps the branches within what these poses show."""
        channels = torch.stack([pose.channels for pose in poses])
        self.oral.fit_control_range(channels[:, :ORAL_CHANNEL_COUNT])
        self.facial.fit_control_range(channels[:, ORAL_CHANNEL_COUNT:])
        self.rigid.fit_control_range(torch.stack([rigid_controls(pose) for pose in poses]))

    @torch.no_grad()
    def reindex_gaussians(self, source_indices: Tensor) -> dict[nn.Parameter, tuple[nn.Parameter, TensorReindex]]:
        """Makes Gaussian `source[i]` of now the i-th, for each i (N',); some may be left out, some stand twice.

        Returns:
            For each parameter of changed shape the one that replaces it, and what does the same change to a tensor of
            the old shape (an optimiser's).
        """
        old = self.size.gaussians
        self.prior = self.prior.view(-1, old, 3)[:, source_indices].reshape(len(CHANNELS), -1)
        self.growth, self.label = self.growth[:, source_indices], self.label[source_indices]
        changes: list[tuple[nn.Module, str, TensorReindex]] = [
            (self, name, lambda value: value[source_indices]) for name in PER_GAUSSIAN_PARAMETERS
        ]
        for branch in (self.facial, self.oral, self.rigid):
            changes.append((branch, "basis", branch.reindex_members(source_indices, old)))
        replaced = {}
        for owner, name, change in changes:
            before = getattr(owner, name)
            after = nn.Parameter(change(before.data), requires_grad=before.requires_grad)
            setattr(owner, name, after)
            replaced[before] = after, change
        self.size = replace(
            self.size, gaussians=len(source_indices), facial_members=len(self.facial.members),
            oral_members=len(self.oral.members),
        )  # fmt: skip
        return replaced

    def rasterize_features(
        self, gaussians: Gaussians, features: Tensor, camera: CameraView, with_depth: bool
    ) -> RasterOutput:
        """Draw features (N, C) of posed Gaussians with the implementation for this device."""
        return rasterize(gaussians, camera, features=features, method=self.method, with_depth=with_depth)

    @torch.no_grad()
    def render(self, pose: Pose, camera: CameraView, *, with_mattes: bool = True) -> RenderedFrame:
        """Draw one frame.

        Args:
            pose: the pose; channels up to 1.5 are drawn.
            camera: actor space → camera.
            with_mattes: whether to draw depth and mattes too; without them they are empty (0, 0) tensors.
        """
        gaussians = self.deform(pose)
        colors = gaussians.colors.clamp(0, 1)
        if not with_mattes:
            rgb, alpha, depth = self.rasterize_features(gaussians, colors, camera, False)
            return RenderedFrame(rgb, alpha, depth, rgb.new_zeros(0, 0, len(LABEL_NAMES)))
        coverage = torch.nn.functional.one_hot(self.label.long(), len(LABEL_NAMES)).to(colors.dtype)
        features, alpha, depth = self.rasterize_features(gaussians, torch.cat([colors, coverage], 1), camera, True)
        return RenderedFrame(features[..., :3], alpha, depth, features[..., 3:])

    def save(self, folder: ActorFolder, name: str = "model.safetensors") -> None:
        """Writes the weights and sizes as `name` in the actor folder."""
        meta = {"version": str(MODEL_VERSION), "size": json.dumps(asdict(self.size))}
        with folder.write_atomically(name) as part:
            state = pack_state({name: value.cpu() for name, value in self.state_dict().items()})
            part.write_bytes(save({name: value.contiguous() for name, value in state.items()}, metadata=meta))

    def to_device(self, device: torch.device) -> Portrait:
        """Moves to a device, to be drawn by the rasteriser of that device from now on. Returns itself."""
        self.method = "cuda" if device.type == "cuda" else "cpu"
        return self.to(device)

    @classmethod
    def from_tensors(cls, state: dict[str, Tensor], size_fields: dict[str, int]) -> Portrait:
        """The portrait of a state that a file holds, with the fields of its `PortraitSize`.

        Raises:
            ValueError, TypeError, RuntimeError: it is damaged; no memory was taken for more than there is.
        """
        if not all(type(count) is int and 0 <= count <= MAX_PORTRAIT_SIZE for count in size_fields.values()):
            raise ValueError("size")
        size = PortraitSize(**size_fields)
        with torch.device("meta"):
            planned = {name: (value.shape, value.dtype) for name, value in cls(size).state_dict().items()}
        if planned != {name: (value.shape, value.dtype) for name, value in state.items()}:
            raise ValueError("size")
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise ValueError("not finite")
        portrait = cls(size)
        portrait.load_state_dict(state)
        if not portrait._has_valid_indices():
            raise ValueError("label or members")
        return portrait

    def _has_valid_indices(self) -> bool:
        """Whether every label and every index is one that there is: what a damaged file may get wrong."""
        count = len(self.means)
        members = [branch.members for branch in (self.facial, self.oral, self.rigid)]
        known = count > 0 and int(self.label.max()) < len(LABEL_NAMES)
        return known and all(((m >= 0) & (m < count)).all() for m in members)

    @classmethod
    def load(cls, folder: ActorFolder, device: torch.device, name: str = "model.safetensors") -> Portrait:
        """The trained portrait of an actor.

        Raises:
            UserError: the file is missing, damaged, or does not fit this version.
        """
        path = folder.file_path(name)
        if not is_accessible_file(path):
            raise damaged_file_error(path)
        try:
            with safe_open(path, framework="pt") as file:
                meta = file.metadata()
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            if int(meta["version"]) != MODEL_VERSION:
                raise UserError(
                    "other_model",
                    f"The model of {folder.path.name} was trained by another version of Portrait Actor.",
                    "Create the actor again from its video: what was tracked is kept, only training runs anew.",
                )
            portrait = cls.from_tensors(unpack_state(state), json.loads(meta["size"]))
        except UserError:
            raise
        except Exception as error:  # safetensors raises its own kinds on a damaged file
            raise damaged_file_error(path) from error
        return portrait.to_device(device).eval()


def rigid_controls(pose: Pose) -> Tensor:
    """(12,) what shading, hair and collar follow: the head's turn against the camera and against the torso."""
    head, torso = rotation_matrix(pose.head_rotation), rotation_matrix(pose.torso_rotation)
    relative = torso.T @ head
    apart = torso.T @ (pose.head_translation - pose.torso_translation)
    tilt = torch.stack([head[2, 1], head[0, 2], head[1, 0]])
    bend = torch.stack([relative[2, 1], relative[0, 2], relative[1, 0]])
    lean = torch.stack([torso[2, 1], torso[0, 2], torso[1, 0]])
    return torch.cat([tilt * 4, bend * 4, lean * 4, apart * 20])
