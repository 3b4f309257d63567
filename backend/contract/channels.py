"""The channel vocabulary: one name and one range for everything that moves a face.

Names are those of ARKit's 52 blend shapes, values are 0 (rest) to 1 (full), left and right are the actor's own. The
channel vector, in the order of `CHANNELS`, is the whole input of the face's deformation: what is keyed is what is
rendered.
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
CHANNEL_INDEX: dict[str, int] = {name: i for i, name in enumerate(CHANNELS)}

CHANNEL_GROUPS: dict[str, tuple[str, ...]] = {
    "Jaw": tuple(n for n in ORAL_CHANNELS if n.startswith("jaw")),
    "Lips": tuple(n for n in ORAL_CHANNELS if n.startswith("mouth")),
    "Tongue": ("tongueOut",),
    "Eyes": tuple(n for n in FACIAL_CHANNELS if n.startswith("eye")),
    "Brows": tuple(n for n in FACIAL_CHANNELS if n.startswith("brow")),
    "Cheeks": tuple(n for n in FACIAL_CHANNELS if n.startswith("cheek")),
    "Nose": tuple(n for n in FACIAL_CHANNELS if n.startswith("nose")),
}

RIGID_BONES: tuple[str, ...] = ("root", "torso", "head")


def mirror_channel(name: str) -> str:
    """The same channel on the other side of the face; a channel without sides is its own mirror."""
    if name.endswith("Left"):
        return name[:-4] + "Right"
    if name.endswith("Right"):
        return name[:-5] + "Left"
    return name
