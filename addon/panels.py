"""The sidebar tab: drawing only. Every button and slider belongs to an operator, a setting or the rig itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

from . import thumbnails
from .contract import channels
from .jobs import environment, job
from .operators import channels as channel_verbs
from .operators import report
from .preview import live
from .properties import LINE, MOUTH
from .scene import actor as scene_actor
from .scene import card, compositing, merge_group, rig, versions, visemes

STRENGTHS = ("lips_strength", "brows_strength", "head_strength", "blink_strength")
LETTER = 6.6  # pixels of an average letter of the interface at scale 1
MARGIN = 70.0  # pixels of a sidebar that text in a box leaves free at scale 1, its icon included

# What helps against an error, as a button beneath it: operator and its label ("" = the operator's own).
REMEDIES: dict[str, tuple[str, str]] = {
    "no_backend": ("portrait_actor.setup_backend", ""),
    "other_version": ("portrait_actor.setup_backend", ""),
    "unsaved": ("wm.save_as_mainfile", "Save the File"),
    "no_python": ("preferences.addon_show", "Preferences"),
    "offline": ("extensions.userpref_allow_online", "Allow Online Access"),
    "damaged_actor": ("portrait_actor.import_actor", ""),
    "no_actor": ("portrait_actor.import_actor", ""),
}


class Sidebar:
    """Where all panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Portrait Actor"


class ActorPanel(Sidebar):
    """A panel that is there when an actor is."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scene_actor.find(context) is not None


class PORTRAIT_ACTOR_PT_job(Sidebar, bpy.types.Panel):
    bl_label = "Portrait Actor"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        state = environment.state()
        if state is not environment.State.READY and not job.is_busy():
            box = layout.box()
            box.label(text=f"The backend is {state.value}", icon="ERROR")
            box.operator("portrait_actor.setup_backend", icon="IMPORT")
        shown = job.current()
        if shown is not None:
            _draw_job(layout.box(), shown)
        found = scene_actor.find(context)
        if found is not None:
            layout.prop(context.scene.portrait_actor, "actor")
            layout.prop(found.armature.portrait_actor, "folder", text="Folder")
            row = layout.row(align=True)
            row.operator("view3d.view_camera", text="Camera", icon="VIEW_CAMERA")
            row.operator("view3d.view_selected", text="Selected", icon="ZOOM_SELECTED")
            layout.prop(context.space_data.shading, "color_type", text="Colors")
            _draw_preview(layout, context)
            column = layout.column(align=True)
            column.operator("portrait_actor.open_report", icon="DOCUMENTS")
            column.operator("portrait_actor.load_overlay", icon="FILE_MOVIE")


def _draw_preview(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    shown, settings = live.current(), context.scene.portrait_actor
    row = layout.row(align=True)
    row.operator("portrait_actor.live_preview", icon="HIDE_OFF" if shown else "HIDE_ON", depress=shown is not None)
    row.prop(settings, "preview_size", text="")
    row.prop(settings, "preview_card", text="", icon="IMAGE_PLANE")
    if shown is None:
        return
    if shown.trouble:
        _draw_text(layout, shown.trouble, "ERROR")
    elif shown.picture is None:
        layout.label(text="The preview starts", icon="TIME")
    elif context.space_data.region_3d.view_perspective != "CAMERA" and not settings.preview_card:
        layout.label(text="Press Camera to see the preview", icon="INFO")
    else:
        layout.label(text=f"{1000 * shown.picture.latency:.0f} ms on {shown.painter.device}", icon="CHECKMARK")
    _draw_comparison(layout.column(align=True), settings, shown)


def _draw_comparison(column: bpy.types.UILayout, settings: bpy.types.PropertyGroup, shown: live.Live) -> None:
    column.label(text="Compare with Footage:")
    column.row(align=True).prop(settings, "compare", expand=True)
    if settings.compare == "OFF":
        return
    column.prop(settings, live.AMOUNTS[settings.compare], slider=True)
    found = shown.things()
    if found is not None:
        column.prop(found[1].portrait_actor, "footage_start")
    if shown.incomparable:
        _draw_text(column, shown.incomparable, "INFO")


def _draw_job(box: bpy.types.UILayout, shown: job.Job) -> None:
    box.label(text=shown.title)
    if shown.is_running:
        box.progress(factor=shown.fraction, type="BAR", text=shown.line)
    elif shown.error is not None:
        _draw_text(box, shown.error.message, "ERROR" if shown.state is job.State.FAILED else "INFO")
        if shown.error.code == "several_faces":
            _draw_faces(box, shown.error.data)
        else:
            _draw_text(box, shown.error.remedy)
        if shown.error.code in REMEDIES:
            operator, label = REMEDIES[shown.error.code]
            button = box.operator(operator, text=label or None)
            if operator == "preferences.addon_show":
                button.module = environment.PACKAGE
    else:
        _draw_text(box, shown.outcome, "CHECKMARK")
    for note in shown.notes[-3:]:
        _draw_text(box, note, "INFO")
    row = box.row(align=True)
    if shown.is_running:
        row.operator("portrait_actor.cancel_job", icon="CANCEL")
    row.operator("portrait_actor.open_log", icon="TEXT")
    if shown.is_running and report.page_of_job() is not None:
        row.operator("portrait_actor.open_report", icon="DOCUMENTS").directory = str(shown.folder)
    if not shown.is_running:
        row.operator("portrait_actor.dismiss", icon="X", text="")


def _draw_faces(box: bpy.types.UILayout, data: dict[str, Any]) -> None:
    """A picture and a button for each face that the video shows."""
    _draw_text(box, "Which one is the actor?")
    count = len(data.get("faces", []))
    grid = box.grid_flow(row_major=True, columns=min(count, 3), even_columns=True)
    for number in range(1, count + 1):
        cell = grid.column(align=True)
        pictures = data.get("pictures", [])
        picture = thumbnails.icon(Path(pictures[number - 1])) if len(pictures) == count else 0
        if picture:
            cell.template_icon(picture, scale=5)
        cell.operator("portrait_actor.choose_face", text=_face_name(number, count)).face = number


def _face_name(number: int, count: int) -> str:
    """e.g. ``Face 1 (left)``."""
    places = {1: "left", count: "right"} | ({2: "middle"} if count == 3 else {})
    return f"Face {number}" + (f" ({places[number]})" if number in places else "")


def _draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as it needs: Blender's labels do not wrap."""
    scale = bpy.context.preferences.system.ui_scale
    width = max(16, (bpy.context.region.width / scale - MARGIN) / LETTER)
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines if text else []):
        column.label(text=line, icon=icon if number == 0 else "NONE")


class PORTRAIT_ACTOR_PT_create(Sidebar, bpy.types.Panel):
    bl_label = "Create Actor"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait_actor
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("video", "actor_name", "folder", "preset", "match_scene"):
            layout.prop(settings, name)
        header, body = layout.panel("portrait_actor_advanced", default_closed=True)
        header.label(text="Advanced")
        if body is not None:
            body.prop(settings, "face")
            body.prop(settings, "landmarker")
        box = layout.box()
        box.prop(settings, "consent_who")
        box.prop(settings, "consent_given")
        missing = _missing(settings)
        if missing:
            layout.label(text=missing, icon="INFO")
        row = layout.row()
        row.enabled, row.scale_y = not missing, 1.4
        button = row.operator("portrait_actor.create_actor", icon="USER")
        for name in ("video", "folder", "actor_name", "preset", "face", "consent_who", "match_scene", "landmarker"):
            setattr(button, name, getattr(settings, name))
        button.frame_start = context.scene.frame_start
        layout.operator("portrait_actor.import_actor", icon="FILE_FOLDER").match_scene = settings.match_scene


def _missing(settings: bpy.types.PropertyGroup) -> str:
    """Why an actor cannot be created yet, or nothing."""
    if not settings.video:
        return "Choose a video"
    if not settings.consent_who.strip():
        return "Say who is shown"
    return "" if settings.consent_given else "Confirm that this person agreed"


class PORTRAIT_ACTOR_PT_pose(ActorPanel, bpy.types.Panel):
    bl_label = "Head & Torso"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find(context)
        layout.use_property_split = True
        for name in (rig.HEAD, rig.TORSO, rig.ROOT):
            bone = found.armature.pose.bones.get(name)
            header, body = layout.panel(f"portrait_actor_{name}", default_closed=name != rig.HEAD)
            header.label(text=name.capitalize(), icon="BONE_DATA")
            if bone is None or body is None:
                continue
            rotation = "rotation_quaternion" if bone.rotation_mode == "QUATERNION" else "rotation_euler"
            body.column(align=True).prop(bone, rotation, text="Rotation")
            body.column(align=True).prop(bone, "location")


class ChannelPanel(ActorPanel):
    """Sliders of channels, group by group, each with the range that the footage showed: what it never showed is dimmed,
    what goes beyond it is red."""

    names: tuple[str, ...] = ()
    part = "ALL"

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find(context)
        keys = found.face.data.shape_keys
        if keys is None:
            layout.label(text=f"{found.face.name} has lost its channels", icon="ERROR")
            return
        if found.linked is not None:
            box = layout.box()
            _draw_text(box, f"{found.linked.name} is linked from another file.", "LINKED")
            if found.face.override_library:
                box.operator("portrait_actor.override_channels")
            else:
                _draw_text(box, "Make a Library Override of it to key it here.")
        search = context.scene.portrait_actor.channel_search.strip()
        tools = layout.row(align=True)
        tools.prop(context.scene.portrait_actor, "channel_search", text="", icon="VIEWZOOM")
        for verb, icon in (("reset", "LOOP_BACK"), ("mirror", "MOD_MIRROR"), ("key", "KEY_HLT")):
            button = tools.operator(f"portrait_actor.{verb}_channels", text="", icon=icon)
            button.part, button.search = self.part, search
        ranges = found.armature.portrait_actor.channels
        if search:
            column = layout.column(align=True)
            matching = channel_verbs.named(self.part, search)
            for name in matching:
                _draw_channel(column.row(align=True), keys.key_blocks.get(name), ranges.get(name))
            if not matching:
                column.label(text=f"None has “{search}” in its name", icon="INFO")
            return
        for group, members in channels.GROUPS.items():
            if members[0] not in self.names:
                continue
            header, body = layout.panel(f"portrait_actor_{group}", default_closed=group in {"Tongue", "Cheeks", "Nose"})
            header.label(text=group)
            if body is None:
                continue
            column = body.column(align=True)
            for name in members:
                _draw_channel(column.row(align=True), keys.key_blocks.get(name), ranges.get(name))


def _draw_channel(
    row: bpy.types.UILayout, key: bpy.types.ShapeKey | None, span: bpy.types.PropertyGroup | None
) -> None:
    if key is None:
        return
    beyond = span is not None and span.is_left_by(key.value)
    row.active = span is not None and span.measured
    row.alert = beyond
    parts = row.split(factor=0.72, align=True)
    slider = parts.row(align=True)
    slider.prop(key, "value", text=_readable(key.name), slider=True)  # its name stands on it, where there is room
    slider.prop_decorator(key, "value")
    if span is not None:
        parts.label(text=span.as_text(), icon="ERROR" if beyond else "NONE")


def _readable(channel: str) -> str:
    """``mouthSmileLeft`` → ``Smile Left``: the group's heading says the rest."""
    words = "".join(f" {c}" if c.isupper() else c for c in channel).split()
    return " ".join(w.capitalize() for w in (words[1:] if len(words) > 1 else words))


class PORTRAIT_ACTOR_PT_oral(ChannelPanel, bpy.types.Panel):
    bl_label = "Oral Channels"
    bl_order = 3
    names, part = channels.ORAL, "ORAL"

    def draw(self, context: bpy.types.Context) -> None:
        grid = self.layout.grid_flow(row_major=True, columns=6, align=True)
        for viseme in visemes.VISEMES:
            grid.operator("portrait_actor.key_viseme", text=visemes.label(viseme)).viseme = viseme
        super().draw(context)


class PORTRAIT_ACTOR_PT_facial(ChannelPanel, bpy.types.Panel):
    bl_label = "Facial Channels"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}
    names, part = channels.FACIAL, "FACIAL"


class PORTRAIT_ACTOR_PT_speak(ActorPanel, bpy.types.Panel):
    bl_label = "Speak"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene, line = self.layout, context.scene, context.scene.portrait_actor.line
        layout.use_property_split, layout.use_property_decorate = True, False
        if scene.sequence_editor is not None:
            strips = "strips" if hasattr(scene.sequence_editor, "strips") else "sequences"
            layout.prop_search(line, "strip", scene.sequence_editor, strips, icon="SEQUENCE")
        if not line.strip:
            layout.prop(line, "audio")
        for name in ("head", "blink", "into_take", "seed", "smoothing"):
            layout.prop(line, name)
        strengths = layout.column(heading="Strength", align=True)
        for name in STRENGTHS:
            strengths.prop(line, name, slider=True)
        layout.prop(line, "use_style")
        if line.use_style:
            part = layout.column(align=True)
            part.prop(line, "style_start")
            part.prop(line, "style_end")
        row = layout.row()
        row.enabled, row.scale_y = bool(line.audio or line.strip), 1.4
        text = f"Speak {line.strip}" if line.strip else f"Speak from Frame {scene.frame_current}"
        button = row.operator("portrait_actor.speak", icon="PLAY_SOUND", text=text)
        _fill(button, line, LINE)
        button.frame_start = scene.frame_current
        if not row.enabled:
            layout.label(text="Choose a sound", icon="INFO")


def _fill(button: bpy.types.OperatorProperties, settings: bpy.types.PropertyGroup, names: Iterable[str]) -> None:
    for name in names:
        setattr(button, name, getattr(settings, name))


class PORTRAIT_ACTOR_PT_dub(ActorPanel, bpy.types.Panel):
    bl_label = "Dub the Footage"
    bl_order = 6
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait_actor
        line = settings.line
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("dub_footage", "dub_start", "dub_film"):
            layout.prop(settings, name)
        said = line.strip or Path(line.audio).name
        layout.label(text=f"Says {said}, as set under Speak" if said else "Choose a sound under Speak", icon="INFO")
        row = layout.row()
        row.enabled, row.scale_y = bool(said and settings.dub_film), 1.4
        button = row.operator("portrait_actor.dub", icon="RENDER_ANIMATION")
        _fill(button, line, MOUTH)
        button.footage, button.start, button.film = settings.dub_footage, settings.dub_start, settings.dub_film


class PORTRAIT_ACTOR_PT_takes(ActorPanel, bpy.types.Panel):
    bl_label = "Takes"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find(context)
        for part, label, owner in (("FACE", "Face", found.face.data.shape_keys), ("HEAD", "Head", found.armature)):
            motion = owner.animation_data if owner is not None else None
            split = layout.split(factor=0.2)
            split.label(text=label)
            row = split.row(align=True)
            if motion is None:
                row.label(text="No take", icon="INFO")
                continue
            row.template_ID(motion, "action")
            push = row.row(align=True)
            push.enabled = motion.action is not None
            push.operator("portrait_actor.push_take", text="", icon="NLA_PUSHDOWN").part = part
            if versions.SLOTTED_ACTIONS and motion.action is not None and motion.action_slot is None:
                layout.template_search(motion, "action_slot", motion, "action_suitable_slots")
        layout.operator("portrait_actor.push_take", icon="NLA_PUSHDOWN").part = "BOTH"


class PORTRAIT_ACTOR_PT_capture(ActorPanel, bpy.types.Panel):
    bl_label = "Captures"
    bl_order = 8
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        row = self.layout.row(align=True)
        button = row.operator("portrait_actor.import_capture", text="Import", icon="IMPORT")
        button.frame_start = context.scene.frame_current
        row.operator("portrait_actor.export_capture", text="Export", icon="EXPORT")
        driven = self.layout.operator("portrait_actor.track_video", icon="TRACKING")
        driven.frame_start = context.scene.frame_current


class PORTRAIT_ACTOR_PT_render(ActorPanel, bpy.types.Panel):
    bl_label = "Render"
    bl_order = 9

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        settings = scene.portrait_actor
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(scene, "camera")
        for name in ("output", "file_format"):
            layout.prop(settings, name)
        placement = layout.row()
        placement.enabled = settings.file_format != "mp4"
        placement.prop(settings, "placement")
        layout.prop(scene.render, "use_motion_blur")
        if scene.render.use_motion_blur:
            layout.prop(settings, "blur_samples")
        elif settings.file_format == "exr":
            layout.prop(settings, "vectors")
        layout.prop(scene.view_settings, "view_transform")
        shown = scene_actor.find(context)
        if compositing.is_outdated(scene, shown.armature):
            _draw_text(
                layout, "The compositor's group is for another view transform: render again, frames are kept", "INFO"
            )
        if settings.placement == "card" and settings.file_format == "exr" and merge_group.look_space(scene):
            _draw_text(layout, "A card of OpenEXR frames keeps the footage's colors with Standard; choose PNG", "INFO")
        hole = card.holdout(shown.armature)
        if hole is not None:
            layout.prop(hole, "default_value", text="Card as Holdout", slider=True)
        row = layout.row()
        row.scale_y = 1.4
        button = row.operator("portrait_actor.render_actor", icon="RENDER_ANIMATION")
        for name in ("output", "file_format", "placement", "blur_samples"):
            setattr(button, name, getattr(settings, name))
        button.vectors = settings.vectors and settings.file_format == "exr" and not scene.render.use_motion_blur
        button.frame_start, button.frame_end = scene.frame_start, scene.frame_end
        if settings.output and Path(bpy.path.abspath(settings.output)).is_dir():
            layout.operator("portrait_actor.open_folder", icon="FILE_FOLDER").directory = settings.output


CLASSES = (
    PORTRAIT_ACTOR_PT_job,
    PORTRAIT_ACTOR_PT_create,
    PORTRAIT_ACTOR_PT_pose,
    PORTRAIT_ACTOR_PT_oral,
    PORTRAIT_ACTOR_PT_facial,
    PORTRAIT_ACTOR_PT_speak,
    PORTRAIT_ACTOR_PT_dub,
    PORTRAIT_ACTOR_PT_takes,
    PORTRAIT_ACTOR_PT_capture,
    PORTRAIT_ACTOR_PT_render,
)
