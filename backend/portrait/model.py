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

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..compute.rotations import quaternion_multiply, rotation_matrix
from ..contract.actor_folder import ActorFolder, damaged
from ..contract.channels import CHANNELS, ORAL
from ..contract.errors import UserError
from ..contract.safe_io import is_file
from ..rasterizer import Method, rasterize
from .branch import COLOUR, OPACITY, POSITION, Branch
from .labels import LABELS
from .storage import pack, unpack

MODEL_VERSION = 4
ORAL_COUNT = len(ORAL)
RIGID_CONTROLS = 12
CENTIMETRE = 0.01
MOST = 2_000_000  # Gaussians, or shapes, of a model that is read
PLAIN = ("means", "quats", "log_scales", "opacity_logits", "colours", "skin_logits")  # a row for each Gaussian
Change = Callable[[Tensor], Tensor]


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


class Moved(NamedTuple):
    """Gaussians of one frame in actor space."""

    means: Tensor  # (N, 3)
    quats: Tensor  # (N, 4)
    scales: Tensor  # (N, 3)
    opacities: Tensor  # (N,)
    colours: Tensor  # (N, 3)


class Frame(NamedTuple):
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
            len(CHANNELS) - ORAL_COUNT, size.facial, size.hidden, facial, torch.zeros(size.facial_members)
        )
        self.oral = Branch(ORAL_COUNT, size.oral, size.hidden, oral, torch.zeros(size.oral_members))
        # no network: what it would learn of shading and cloth holds for the poses of the footage, not for new ones
        self.rigid = Branch(RIGID_CONTROLS, size.rigid, 0, everyone, torch.ones(n))
        self.method: Method = "cpu"

    def move(self, pose: Pose) -> Moved:
        """The Gaussians as they stand in actor space for a pose."""
        channels = pose.channels
        rest = self.means + (channels @ self.prior).view(-1, 3)
        extra = self.rigid(rigid_controls(pose))
        extra = extra.index_add(0, self.oral.members, self.oral(channels[:ORAL_COUNT]))
        extra = extra.index_add(0, self.facial.members, self.facial(channels[ORAL_COUNT:]))
        rest = rest + extra[:, POSITION] * CENTIMETRE
        share = torch.sigmoid(self.skin_logits)[:, None]
        head = rest @ rotation_matrix(pose.head_rotation).T + pose.head_translation
        torso = rest @ rotation_matrix(pose.torso_rotation).T + pose.torso_translation
        near = torch.where((pose.head_rotation * pose.torso_rotation).sum() < 0, -1.0, 1.0)  # q and −q are one rotation
        turn = share * (near * pose.head_rotation) + (1 - share) * pose.torso_rotation
        return Moved(
            torso + share * (head - torso),
            quaternion_multiply(turn, self.quats),
            (self.log_scales + (channels @ self.growth)[:, None]).exp(),
            torch.sigmoid(self.opacity_logits + extra[:, OPACITY].squeeze(1)),
            self.colours + extra[:, COLOUR],
        )

    @torch.no_grad()
    def learn_range(self, poses: Sequence[Pose]) -> None:
        """Keeps the branches within what these poses show."""
        channels = torch.stack([pose.channels for pose in poses])
        self.oral.learn_range(channels[:, :ORAL_COUNT])
        self.facial.learn_range(channels[:, ORAL_COUNT:])
        self.rigid.learn_range(torch.stack([rigid_controls(pose) for pose in poses]))

    @torch.no_grad()
    def reselect(self, source: Tensor) -> dict[nn.Parameter, tuple[nn.Parameter, Change]]:
        """Makes Gaussian `source[i]` of now the i-th, for each i (N',); some may be left out, some stand twice.

        Returns:
            For each parameter of changed shape the one that replaces it, and what does the same change to a tensor of
            the old shape (an optimiser's).
        """
        old = self.size.gaussians
        self.prior = self.prior.view(-1, old, 3)[:, source].reshape(len(CHANNELS), -1)
        self.growth, self.label = self.growth[:, source], self.label[source]
        changes: list[tuple[nn.Module, str, Change]] = [(self, name, lambda value: value[source]) for name in PLAIN]
        for branch in (self.facial, self.oral, self.rigid):
            changes.append((branch, "basis", branch.reselect(source, old)))
        replaced = {}
        for owner, name, change in changes:
            before = getattr(owner, name)
            after = nn.Parameter(change(before.data), requires_grad=before.requires_grad)
            setattr(owner, name, after)
            replaced[before] = after, change
        self.size = replace(
            self.size, gaussians=len(source), facial_members=len(self.facial.members),
            oral_members=len(self.oral.members),
        )  # fmt: skip
        return replaced

    def draw(
        self, moved: Moved, features: Tensor, view: Tensor, intrinsics: Tensor, width: int, height: int, depth: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rasterises features (N, C): (H, W, C), alpha (H, W), depth (H, W)."""
        return rasterize(
            moved.means, moved.quats, moved.scales, moved.opacities, features, view, intrinsics, width, height,
            method=self.method, with_depth=depth,
        )  # fmt: skip

    @torch.no_grad()
    def render(
        self,
        head_rotation: Tensor,
        head_translation: Tensor,
        torso_rotation: Tensor,
        torso_translation: Tensor,
        channels: Tensor,
        view: Tensor,
        intrinsics: Tensor,
        width: int,
        height: int,
        *,
        mattes: bool = True,
    ) -> Frame:
        """One frame through any camera.

        Args:
            head_rotation, torso_rotation: (4,) unit wxyz, rest → actor space; *_translation: (3,) metres.
            channels: (52,) in the order of `CHANNELS`, 0–1 (up to 1.5 is drawn).
            view: (4, 4) actor space → OpenCV camera. intrinsics: (3, 3) pixels.
            mattes: whether to draw depth and mattes too; without them they are empty (0, 0) tensors.
        """
        pose = Pose(head_rotation, head_translation, torso_rotation, torso_translation, channels)
        moved = self.move(pose)
        colours = moved.colours.clamp(0, 1)
        if not mattes:
            rgb, alpha, depth = self.draw(moved, colours, view, intrinsics, width, height, False)
            return Frame(rgb, alpha, depth, rgb.new_zeros(0, 0, len(LABELS)))
        belongs = torch.nn.functional.one_hot(self.label.long(), len(LABELS)).to(colours.dtype)
        features = torch.cat([colours, belongs], 1)
        drawn, alpha, depth = self.draw(moved, features, view, intrinsics, width, height, True)
        return Frame(drawn[..., :3], alpha, depth, drawn[..., 3:])

    def save(self, folder: ActorFolder, name: str = "model.safetensors") -> None:
        """Writes the weights and sizes as `name` in the actor folder."""
        meta = {"version": str(MODEL_VERSION), "size": json.dumps(asdict(self.size))}
        with folder.replacing(name) as part:
            state = pack({name: value.cpu() for name, value in self.state_dict().items()})
            part.write_bytes(save({name: value.contiguous() for name, value in state.items()}, metadata=meta))

    def on(self, device: torch.device) -> Portrait:
        """Moves to a device, to be drawn by the rasteriser of that device from now on. Returns itself."""
        self.method = "cuda" if device.type == "cuda" else "cpu"
        return self.to(device)

    @classmethod
    def of(cls, state: dict[str, Tensor], sizes: dict[str, int]) -> Portrait:
        """The portrait of a state that a file holds, with the fields of its `PortraitSize`.

        Raises:
            ValueError, TypeError, RuntimeError: it is damaged; no memory was taken for more than there is.
        """
        if not all(type(count) is int and 0 <= count <= MOST for count in sizes.values()):
            raise ValueError("size")
        size = PortraitSize(**sizes)
        with torch.device("meta"):
            planned = {name: (value.shape, value.dtype) for name, value in cls(size).state_dict().items()}
        if planned != {name: (value.shape, value.dtype) for name, value in state.items()}:
            raise ValueError("size")
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise ValueError("not finite")
        portrait = cls(size)
        portrait.load_state_dict(state)
        if not portrait._names_its_gaussians():
            raise ValueError("label or members")
        return portrait

    def _names_its_gaussians(self) -> bool:
        """Whether every label and every index is one that there is: what a damaged file may get wrong."""
        count = len(self.means)
        members = [branch.members for branch in (self.facial, self.oral, self.rigid)]
        known = count > 0 and int(self.label.max()) < len(LABELS)
        return known and all(((m >= 0) & (m < count)).all() for m in members)

    @classmethod
    def load(cls, folder: ActorFolder, device: torch.device, name: str = "model.safetensors") -> Portrait:
        """The trained portrait of an actor.

        Raises:
            UserError: the file is missing, damaged, or does not fit this version.
        """
        path = folder.file(name)
        if not is_file(path):
            raise damaged(path)
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
            portrait = cls.of(unpack(state), json.loads(meta["size"]))
        except UserError:
            raise
        except Exception as error:  # safetensors raises its own kinds on a damaged file
            raise damaged(path) from error
        return portrait.on(device).eval()


def rigid_controls(pose: Pose) -> Tensor:
    """(12,) what shading, hair and collar follow: the head's turn against the camera and against the torso."""
    head, torso = rotation_matrix(pose.head_rotation), rotation_matrix(pose.torso_rotation)
    relative = torso.T @ head
    apart = torso.T @ (pose.head_translation - pose.torso_translation)
    tilt = torch.stack([head[2, 1], head[0, 2], head[1, 0]])
    bend = torch.stack([relative[2, 1], relative[0, 2], relative[1, 0]])
    lean = torch.stack([torso[2, 1], torso[0, 2], torso[1, 0]])
    return torch.cat([tilt * 4, bend * 4, lean * 4, apart * 20])
