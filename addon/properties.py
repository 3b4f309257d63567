"""Properties in the .blend: the settings of the sidebar's forms, and what an armature knows of its actor."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, Literal

import bpy

from .scene import scene_actor
from .scene.compat import BLEND_RELATIVE
from .translations import iface_
from .translations.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

PRESET_ITEMS = (
    ("draft", "Draft", "Minutes on a CPU: to see whether the footage works"),
    ("standard", "Standard", "The usual choice"),
    ("final", "Final", "Best quality; needs a GPU or a night"),
    ("tiny", "Tiny", "A blurred actor in seconds, to test a pipeline"),
)
PREVIEW_SIZE_ITEMS = (
    ("256", "256 px", "Fast"),
    ("384", "384 px", "Medium"),
    ("512", "512 px", "Sharp; slower without a GPU"),
)
MATCH_SCENE_ITEMS = (
    ("AUTO", "Automatic", "Where it overwrites nothing"),
    ("ON", "On", "Always"),
    ("OFF", "Off", "Never"),
)
COMPARISON_ITEMS = (
    ("OFF", "Off", "The actor alone"),
    ("ONION", "Onion", "The footage over the actor, with adjustable opacity"),
    ("WIPE", "Wipe", "The footage left of a line, the actor right of it"),
    ("DIFFERENCE", "Diff", "Difference between the actor and the person in the footage; black means none"),
)
FORMAT_ITEMS = (
    ("exr", "OpenEXR", "Scene-linear color with alpha, depth and mattes; for compositing"),
    ("png", "PNG", "Display color with alpha"),
    ("mp4", "MP4", "A film with the scene's sound; it is not placed in the scene"),
)
PLACEMENT_ITEMS = (
    ("compositor", "Compositor", "Over the scene, as a group with sliders for edge, color and grain"),
    ("card", "Card", "A rectangle in front of the camera that also casts the actor's shadow; needs no compositor"),
    ("none", "Nowhere", "Files only"),
)
# Options of the property Match Scene, which the sidebar and the operators have, each with a default of its own.
MATCH_SCENE_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "name": "Match Scene",
        "description": "Set the scene's camera, resolution, frame rate and last frame to the footage's. On by default "
        "only while the scene has no actor, and its camera (if any), resolution, frame rate and range are those that "
        "Blender starts with",
    }
)
# Options of the properties that scale a part of a spoken line.
STRENGTH_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {"default": 1.0, "min": 0.0, "max": 3.0, "soft_max": 2.0, "precision": 2, "subtype": "FACTOR"}
)
OVERRIDABLE: set[Literal["LIBRARY_OVERRIDABLE"]] = {"LIBRARY_OVERRIDABLE"}
CHANNEL_TOLERANCE = 0.005  # of a channel's value: below the two digits that a slider shows


def _is_actor(_settings: bpy.types.PropertyGroup, candidate: bpy.types.Object) -> bool:
    return scene_actor.is_actor_armature(candidate)


def _owner_scene(settings: Any) -> bpy.types.Scene:
    """Return the scene that owns the settings."""
    scene: bpy.types.Scene = settings.id_data
    return scene


def _get_match_scene(settings: Any) -> bool:
    """Return whether the next actor sets the scene: as the artist chose, else by default."""
    if settings.match_choice == "AUTO":
        return scene_actor.should_match_scene(_owner_scene(settings))
    return bool(settings.match_choice == "ON")


def _set_match_scene(settings: Any, value: bool) -> None:
    """Store the artist's choice. The default is no choice, so that it goes on following the scene."""
    default = scene_actor.should_match_scene(_owner_scene(settings))
    settings.match_choice = "AUTO" if value == default else "ON" if value else "OFF"


def _reset_face_and_consent(settings: Any, _context: bpy.types.Context) -> None:
    """Reset what belongs to the former video: another one shows other faces, and other people have to agree."""
    settings.face, settings.consent_given = 0, False


def _request_preview_update(settings: Any, _context: bpy.types.Context) -> None:
    """Mark the preview as outdated, as a change of the scene does."""
    settings.id_data.update_tag()


class ChannelRange(bpy.types.PropertyGroup):
    """The range of one channel in the footage; `name` is the channel's."""

    measured: BoolProperty(name="Measured", description="The footage shows this channel moving")
    low: FloatProperty(name="Lowest", description="Smallest value in the footage", subtype="FACTOR")
    high: FloatProperty(name="Highest", description="Largest value in the footage", subtype="FACTOR")

    def is_exceeded_by(self, value: float) -> bool:
        """Return whether a value is visibly beyond what the footage showed."""
        return bool(self.measured) and not self.low - CHANNEL_TOLERANCE <= value <= self.high + CHANNEL_TOLERANCE

    def range_label(self) -> str:
        """Return e.g. ``0–0.52``; short, because it is drawn beside a slider."""
        if not self.measured:
            return iface_("not seen")
        return "–".join("0" if abs(end) < CHANNEL_TOLERANCE else f"{end:.2f}" for end in (self.low, self.high))


class ActorSettings(bpy.types.PropertyGroup):
    """The properties of an actor's armature."""

    folder: StringProperty(
        name="Actor Folder", description="The .actor folder on disk", subtype="DIR_PATH", options=BLEND_RELATIVE
    )
    face: PointerProperty(name="Face", description="The proxy face", type=bpy.types.Object, override=OVERRIDABLE)
    camera: PointerProperty(
        name="Camera", description="The camera matched to the footage", type=bpy.types.Object, override=OVERRIDABLE
    )
    channels: CollectionProperty(name="Channels", description="Range of each channel in the footage", type=ChannelRange)
    rendered_blur: IntProperty(
        name="Rendered Blur Samples", description="Blur samples of the frames in the scene", default=8, min=1, max=256
    )
    rendered_vectors: BoolProperty(
        name="Rendered Vectors", description="Whether the frames in the scene have a Vector pass"
    )
    footage_start: IntProperty(
        name="Footage Start",
        description="The scene frame where the footage begins",
        default=1,
        subtype="TIME",
        update=_request_preview_update,
    )


class SpeechForm:
    """Properties of speech in the sidebar's form, the operators and the command line."""

    audio: StringProperty(name="Sound", description="The line to speak", subtype="FILE_PATH", options=BLEND_RELATIVE)
    strip: StringProperty(
        name="Strip", description="Strip of the sequencer to speak at its place in time, instead of a file"
    )
    smoothing: FloatProperty(
        name="Smoothing",
        description="Duration over which the mouth's motion is averaged; lips still close",
        min=0,
        max=0.3,
        precision=3,
        step=1,
        subtype="TIME_ABSOLUTE",
    )
    lips_strength: FloatProperty(name="Lips", description="Scale of the mouth's motion", **STRENGTH_OPTIONS)
    use_style: BoolProperty(name="Style of a Part", description="Speak in the style of one part of the footage")
    style_start: FloatProperty(
        name="From", description="Second of the footage at which that part begins", min=0, subtype="TIME_ABSOLUTE"
    )
    style_end: FloatProperty(
        name="To",
        description="Second of the footage at which that part ends",
        min=0,
        default=5,
        subtype="TIME_ABSOLUTE",
    )


class LineForm(SpeechForm):
    """Properties of a spoken line with the motion of the whole actor."""

    head: BoolProperty(name="Head Motion", description="The head moves with the voice", default=True)
    blink: BoolProperty(name="Blinks", description="Blinks and brows move with the voice", default=True)
    into_take: BoolProperty(
        name="Into Take in Use",
        description="Replace this range of the take in use; your keys before and after it stay",
    )
    seed: IntProperty(name="Seed", description="Another seed gives another delivery of the line", min=0)
    brows_strength: FloatProperty(name="Brows", description="Scale of the brows' motion", **STRENGTH_OPTIONS)
    head_strength: FloatProperty(name="Head", description="Scale of the motion of head and torso", **STRENGTH_OPTIONS)
    blink_strength: FloatProperty(name="Lids", description="How far blinks close the eyes", **STRENGTH_OPTIONS)


class CreateForm:
    """Properties of Create Actor beside the video, in the sidebar and the operator."""

    actor_name: StringProperty(name="Name", description="Name of the actor; empty uses the video's name")
    folder: StringProperty(
        name="Save In",
        description="Folder for the actor; empty puts it beside the video",
        subtype="DIR_PATH",
        options=BLEND_RELATIVE,
    )
    preset: EnumProperty(
        name="Quality", description="How long and how finely the actor is trained", items=PRESET_ITEMS, default="draft"
    )
    face: IntProperty(
        name="Face", description="Which face, from the left, when the video shows several; 0: the only one", min=0
    )
    landmarker: StringProperty(
        name="Face Landmarker",
        description="MediaPipe's face_landmarker.task, if you have it, to measure the channels; empty uses the "
        "built-in fit",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    consent_who: StringProperty(name="Who Is Shown", description="The person in the video; kept in the actor")


class RenderForm:
    """Properties of Render Actor in the sidebar and the operator."""

    output: StringProperty(
        name="Output",
        description="Folder for the rendered frames",
        subtype="DIR_PATH",
        default="//actor_render/",
        options=BLEND_RELATIVE,
    )
    file_format: EnumProperty(
        name="Format", description="File format of the rendered frames", items=FORMAT_ITEMS, default="exr"
    )
    placement: EnumProperty(
        name="Place In", description="Where the rendered frames appear", items=PLACEMENT_ITEMS, default="compositor"
    )
    blur_samples: IntProperty(
        name="Blur Samples",
        description="Samples per frame while the shutter is open; each takes as long as a frame without blur",
        default=8,
        min=1,
        max=256,
        soft_max=32,
    )
    vectors: BoolProperty(
        name="Vector Pass", description="How far each pixel moves, for motion blur in the compositor; OpenEXR only"
    )


# The properties of each form by name, as Blender declares them.
SPEECH_PROPERTIES: dict[str, Any] = dict(SpeechForm.__annotations__)
LINE_PROPERTIES: dict[str, Any] = {**SPEECH_PROPERTIES, **LineForm.__annotations__}
CREATE_PROPERTIES: dict[str, Any] = dict(CreateForm.__annotations__)
RENDER_PROPERTIES: dict[str, Any] = dict(RenderForm.__annotations__)


def copy_values(source: Any, names: Iterable[str]) -> SimpleNamespace:
    """Copy the values of a form, an operator or a parsed command line, for a job to keep."""
    return SimpleNamespace(**{name: getattr(source, name) for name in names})


class LineSettings(LineForm, bpy.types.PropertyGroup):
    """The values of the form Speak."""


class SceneSettings(CreateForm, RenderForm, bpy.types.PropertyGroup):
    """The properties of a scene: the values of the sidebar's forms."""

    actor: PointerProperty(
        name="Actor",
        description="The actor that the sidebar shows while no actor is selected",
        type=bpy.types.Object,
        poll=_is_actor,
    )
    render_ahead: BoolProperty(
        name="Up to Date without a Window",
        description="Render missing or outdated frames of placed actors first when Blender renders the animation "
        "without a window (-b -a)",
        default=True,
    )

    video: StringProperty(
        name="Video",
        description="One person talking, facing the camera",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
        update=_reset_face_and_consent,
    )
    match_choice: EnumProperty(
        name="Match Scene", description="What was chosen for Match Scene", items=MATCH_SCENE_ITEMS, options={"HIDDEN"}
    )
    match_scene: BoolProperty(**MATCH_SCENE_OPTIONS, get=_get_match_scene, set=_set_match_scene)
    consent_given: BoolProperty(
        name="This person agreed", description="The person in the video agreed to become a digital actor"
    )

    preview_size: EnumProperty(
        name="Preview Size",
        description="Pixels of the live preview's longer side",
        items=PREVIEW_SIZE_ITEMS,
        default="256",
        update=_request_preview_update,
    )
    preview_card: BoolProperty(
        name="Card in Other Views",
        description="Beside the camera's view, show the preview as a card before the actor's face",
        default=True,
    )
    compare: EnumProperty(
        name="Compare with Footage",
        description="Show the footage and the actor in one picture, through the matched camera",
        items=COMPARISON_ITEMS,
        update=_request_preview_update,
    )
    onion_opacity: FloatProperty(
        name="Opacity", description="Opacity of the footage", default=0.5, min=0, max=1, subtype="FACTOR"
    )
    wipe_position: FloatProperty(
        name="Position", description="Distance of the line from the left", default=0.5, min=0, max=1, subtype="FACTOR"
    )
    difference_gain: FloatProperty(
        name="Gain", description="Factor by which differences are brightened", default=4, min=1, max=32
    )
    channel_search: StringProperty(
        name="Search", description="Show only channels whose names contain this text", options={"TEXTEDIT_UPDATE"}
    )

    line: PointerProperty(name="Line", description="The line and its settings", type=LineSettings)

    dub_footage: StringProperty(
        name="Original",
        description="The video that the actor was made from; empty uses the crops in the actor's folder",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    dub_start: FloatProperty(
        name="Start", description="Second of the footage at which the line begins", min=0, subtype="TIME_ABSOLUTE"
    )
    dub_film: StringProperty(
        name="Film",
        description="The .mp4 to write",
        subtype="FILE_PATH",
        default="//dub.mp4",
        options=BLEND_RELATIVE,
    )


CLASSES = (ChannelRange, ActorSettings, LineSettings, SceneSettings)


def register() -> None:
    """Add the settings to scenes and objects. The classes are registered already."""
    bpy.types.Scene.portrait_actor = PointerProperty(type=SceneSettings)  # type: ignore[attr-defined]
    bpy.types.Object.portrait_actor = PointerProperty(  # type: ignore[attr-defined]
        type=ActorSettings, override=OVERRIDABLE
    )


def unregister() -> None:
    """Remove the settings from scenes and objects."""
    del bpy.types.Object.portrait_actor  # type: ignore[attr-defined]
    del bpy.types.Scene.portrait_actor  # type: ignore[attr-defined]
