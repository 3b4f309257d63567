"""The channels: the weights of ARKit's 52 blend shapes, 0 (rest) to 1 (full). Left and right are the actor's own.

The vector of these weights, in the order of `CHANNELS`, is the only input of the face's deformation.
"""

from __future__ import annotations

ORAL_CHANNELS: tuple[str, ...] = (
    "jawForward", "jawLeft", "jawRight", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "tongueOut",
)  # fmt: skip

FACIAL_CHANNELS: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip

CHANNELS: tuple[str, ...] = ORAL_CHANNELS + FACIAL_CHANNELS
CHANNEL_INDEX: dict[str, int] = {name: index for index, name in enumerate(CHANNELS)}

CHANNEL_GROUPS: dict[str, tuple[str, ...]] = {
    "Jaw": tuple(name for name in ORAL_CHANNELS if name.startswith("jaw")),
    "Lips": tuple(name for name in ORAL_CHANNELS if name.startswith("mouth")),
    "Tongue": ("tongueOut",),
    "Eyes": tuple(name for name in FACIAL_CHANNELS if name.startswith("eye")),
    "Brows": tuple(name for name in FACIAL_CHANNELS if name.startswith("brow")),
    "Cheeks": tuple(name for name in FACIAL_CHANNELS if name.startswith("cheek")),
    "Nose": tuple(name for name in FACIAL_CHANNELS if name.startswith("nose")),
}

RIGID_BONES: tuple[str, ...] = ("root", "torso", "head")


def mirror_channel(name: str) -> str:
    """Return the channel on the other side of the face, or `name` itself for a channel without sides."""
    if name.endswith("Left"):
        return name[:-4] + "Right"
    if name.endswith("Right"):
        return name[:-5] + "Left"
    return name
