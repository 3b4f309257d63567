"""The portrait: the set of Gaussians that is the actor's appearance, moved by head, torso and channels.

Rest space is actor space at the rest pose. A frame is drawn in four steps: the blend shapes of the tracked mesh move
every Gaussian (the prior, which gives each channel a plausible effect), the facial, oral and rigid branches add what
training learned, head and torso poses move the result (the neck by smooth skinning), and the rasteriser draws it.
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

MODEL_VERSION = 4  # raised whenever older model files no longer fit
ORAL_CHANNEL_COUNT = len(ORAL_CHANNELS)
RIGID_CONTROL_COUNT = 12
METERS_PER_CENTIMETER = 0.01
MAX_PORTRAIT_SIZE = 2_000_000  # largest number of Gaussians or shapes in a file; above it the file counts as damaged
PER_GAUSSIAN_PARAMETERS = ("means", "quats", "log_scales", "opacity_logits", "colours", "skin_logits")
# Gains that bring the rigid controls of usual motion near 1: per unit of sin(angle), and per metre. Larger makes the
# rigid branch react more strongly to small motion. Not tuned.
ROTATION_GAIN = 4
TRANSLATION_GAIN = 20
TensorReindex = Callable[[Tensor], Tensor]  # old tensor → tensor for a new selection of Gaussians


@dataclass(frozen=True)
class PortraitSize:
    """How large the parts are.

    Attributes:
        gaussians: number of Gaussians.
        facial_members: Gaussians that the facial branch moves.
        oral_members: Gaussians that the oral branch moves.
        facial: shapes of the facial branch.
        oral: shapes of the oral branch.
        rigid: shapes of the rigid branch.
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
    """Head, torso and face of one frame.

    Attributes:
        head_rotation: (4,) unit quaternion wxyz, rest → actor space.
        head_translation: (3,) metres.
        torso_rotation: (4,) unit quaternion wxyz, rest → actor space.
        torso_translation: (3,) metres.
        channels: (52,) in the order of `CHANNELS`, 0–1.
    """

    head_rotation: Tensor
    head_translation: Tensor
    torso_rotation: Tensor
    torso_translation: Tensor
    channels: Tensor

    @classmethod
    def from_performance(cls, performance: Performance, row: int, device: torch.device) -> Pose:
        """Return row `row` of a performance, in float32 on `device`."""
        values = (np.asarray(getattr(performance, name)[row], np.float32) for name in cls._fields)
        return cls(*(torch.as_tensor(value).to(device) for value in values))


class RenderedFrame(NamedTuple):
    """A rendered frame, premultiplied with its coverage.

    Attributes:
        rgb: (H, W, 3) display-referred sRGB.
        alpha: (H, W) 0–1.
        depth: (H, W) metres.
        mattes: (H, W, 4) coverage of face, hair, mouth interior and torso.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    mattes: Tensor


class Portrait(nn.Module):
    """The appearance model of one actor, described at the top of this file.

    Scales are stored as logarithms, opacities and head weights as logits.

    Attributes:
        prior: (52, N · 3) offsets at channel value 1, metres.
        growth: (52, N) increase of the log scales at channel value 1.
        label: (N,) uint8, see `labels`.
        method: the rasteriser's implementation for this device.
    """

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
        self.skin_logits = nn.Parameter(torch.zeros(n))  # logit of the share that follows the head
        self.register_buffer("prior", torch.zeros(len(CHANNELS), n * 3))
        self.register_buffer("growth", torch.zeros(len(CHANNELS), n))
        self.register_buffer("label", torch.zeros(n, dtype=torch.uint8))
        facial, oral = torch.zeros(size.facial_members).long(), torch.zeros(size.oral_members).long()
        self.facial = Branch(
            len(CHANNELS) - ORAL_CHANNEL_COUNT, size.facial, size.hidden, facial, torch.zeros(size.facial_members)
        )
        self.oral = Branch(ORAL_CHANNEL_COUNT, size.oral, size.hidden, oral, torch.zeros(size.oral_members))
        # no network: what it would learn of shading and cloth holds only for the poses of the footage
        self.rigid = Branch(RIGID_CONTROL_COUNT, size.rigid, 0, torch.arange(n), torch.ones(n))
        self.method: Implementation = "cpu"

    def deform(self, pose: Pose) -> Gaussians:
        """Return the Gaussians of a pose, in actor space."""
        channels = pose.channels
        rest = self.means + (channels @ self.prior).view(-1, 3)
        offsets = self.rigid(rigid_controls(pose))
        offsets = offsets.index_add(0, self.oral.members, self.oral(channels[:ORAL_CHANNEL_COUNT]))
        offsets = offsets.index_add(0, self.facial.members, self.facial(channels[ORAL_CHANNEL_COUNT:]))
        rest = rest + offsets[:, POSITION] * METERS_PER_CENTIMETER
        head_weight = torch.sigmoid(self.skin_logits)[:, None]
        head = rest @ rotation_matrix(pose.head_rotation).T + pose.head_translation
        torso = rest @ rotation_matrix(pose.torso_rotation).T + pose.torso_translation
        sign = torch.where((pose.head_rotation * pose.torso_rotation).sum() < 0, -1.0, 1.0)  # q and −q are one rotation
        rotation = head_weight * (sign * pose.head_rotation) + (1 - head_weight) * pose.torso_rotation
        return Gaussians(
            torso + head_weight * (head - torso),
            quaternion_multiply(rotation, self.quats),
            (self.log_scales + (channels @ self.growth)[:, None]).exp(),
            torch.sigmoid(self.opacity_logits + offsets[:, OPACITY].squeeze(1)),
            self.colours + offsets[:, COLOR],
        )

    @torch.no_grad()
    def fit_control_ranges(self, poses: Sequence[Pose]) -> None:
        """Limit the branches' controls to the range of these poses."""
        channels = torch.stack([pose.channels for pose in poses])
        self.oral.fit_control_range(channels[:, :ORAL_CHANNEL_COUNT])
        self.facial.fit_control_range(channels[:, ORAL_CHANNEL_COUNT:])
        self.rigid.fit_control_range(torch.stack([rigid_controls(pose) for pose in poses]))

    @torch.no_grad()
    def reindex_gaussians(self, source_indices: Tensor) -> dict[nn.Parameter, tuple[nn.Parameter, TensorReindex]]:
        """Replace the Gaussians by a selection of them.

        Args:
            source_indices: (N',) the present index of each new Gaussian; indices may be missing or repeated.

        Returns:
            For each parameter of changed shape its replacement, and a function that makes the same change to another
            tensor of the old shape (an optimiser's).
        """
        old_count = self.size.gaussians
        self.prior = self.prior.view(-1, old_count, 3)[:, source_indices].reshape(len(CHANNELS), -1)
        self.growth, self.label = self.growth[:, source_indices], self.label[source_indices]
        changes: list[tuple[nn.Module, str, TensorReindex]] = [
            (self, name, lambda value: value[source_indices]) for name in PER_GAUSSIAN_PARAMETERS
        ]
        for branch in (self.facial, self.oral, self.rigid):
            changes.append((branch, "basis", branch.reindex_members(source_indices, old_count)))
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
        """Write weights and sizes as `name` in the actor folder.

        Raises:
            UserError: the file cannot be written.
        """
        metadata = {"version": str(MODEL_VERSION), "size": json.dumps(asdict(self.size))}
        with folder.write_atomically(name) as part:
            state = pack_state({name: value.cpu() for name, value in self.state_dict().items()})
            part.write_bytes(save({name: value.contiguous() for name, value in state.items()}, metadata=metadata))

    def to_device(self, device: torch.device) -> Portrait:
        """Move the portrait to a device and choose the rasteriser for it. Return the portrait itself."""
        self.method = "cuda" if device.type == "cuda" else "cpu"
        return self.to(device)

    @classmethod
    def from_tensors(cls, state: dict[str, Tensor], size_fields: dict[str, int]) -> Portrait:
        """Return the portrait of a state dict read from a file.

        Shapes and types are compared before memory is allocated, so a damaged size cannot exhaust it.

        Args:
            state: the state dict.
            size_fields: the fields of its `PortraitSize`.

        Raises:
            ValueError: the values do not fit together.
            TypeError: a field of the size is missing or unknown.
            RuntimeError: torch refuses the state.
        """
        if not all(type(count) is int and 0 <= count <= MAX_PORTRAIT_SIZE for count in size_fields.values()):
            raise ValueError("size")
        size = PortraitSize(**size_fields)
        with torch.device("meta"):
            expected = {name: (value.shape, value.dtype) for name, value in cls(size).state_dict().items()}
        if expected != {name: (value.shape, value.dtype) for name, value in state.items()}:
            raise ValueError("size")
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise ValueError("not finite")
        portrait = cls(size)
        portrait.load_state_dict(state)
        if not portrait._has_valid_indices():
            raise ValueError("label or members")
        return portrait

    def _has_valid_indices(self) -> bool:
        """Check that labels and member indices exist, which a damaged file may break."""
        count = len(self.means)
        members = [branch.members for branch in (self.facial, self.oral, self.rigid)]
        are_labels_valid = count > 0 and int(self.label.max()) < len(LABEL_NAMES)
        return are_labels_valid and all(((m >= 0) & (m < count)).all() for m in members)

    @classmethod
    def load(cls, folder: ActorFolder, device: torch.device, name: str = "model.safetensors") -> Portrait:
        """Read the trained portrait of an actor.

        Raises:
            UserError: the file is missing, damaged, or does not fit this version.
        """
        path = folder.file_path(name)
        if not is_accessible_file(path):
            raise damaged_file_error(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            if int(metadata["version"]) != MODEL_VERSION:
                raise UserError(
                    "other_model",
                    f"The model of {folder.path.name} was trained by another version of Portrait Actor.",
                    "Create the actor again from its video. The tracking is kept; only training runs again.",
                )
            portrait = cls.from_tensors(unpack_state(state), json.loads(metadata["size"]))
        except UserError:
            raise
        except Exception as error:  # safetensors raises exceptions of its own on a damaged file
            raise damaged_file_error(path) from error
        return portrait.to_device(device).eval()


def rigid_controls(pose: Pose) -> Tensor:
    """Return the controls (12,) of the rigid branch, which moves shading, hair and collar.

    They are the rotations of the head, of the head against the torso and of the torso, each as about the sines of its
    angles around x, y and z, and the head's position in the torso's axes.
    """
    head, torso = rotation_matrix(pose.head_rotation), rotation_matrix(pose.torso_rotation)
    relative = torso.T @ head
    position = torso.T @ (pose.head_translation - pose.torso_translation)
    rotations = [_axis_sines(rotation) * ROTATION_GAIN for rotation in (head, relative, torso)]
    return torch.cat([*rotations, position * TRANSLATION_GAIN])


def _axis_sines(rotation: Tensor) -> Tensor:
    """Return elements (3,) of a rotation matrix that are near the sines of its angles around x, y and z."""
    return torch.stack([rotation[2, 1], rotation[0, 2], rotation[1, 0]])
