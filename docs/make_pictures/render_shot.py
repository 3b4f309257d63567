"""Runs inside Blender: the sample actor speaks in a simple set, composited, for the manual's pictures.

python render_shot.py -- ZIP ACTOR AUDIO FOLDER

Writes `as_it_comes.png` and `with_sliders.png`, the same frame before and after the group's sliders are moved, and
`speaking_####.png`, every second frame of the line's beginning. Only the actor moves, so the set is rendered once.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import bpy
from mathutils import Vector

Triple = tuple[float, float, float]
STILL_FRAME = 34  # the frame of both stills
FRAMES = range(10, 122, 2)  # of the line; at 25 frames a second every second one makes 12.5
SIZE = (800, 520)
SLIDERS = {
    "Edge": -1.5, "Soften": 1.5, "Spill": 0.6, "Match Color": 0.4, "Match Exposure": 0.2, "Light Wrap": 0.25,
    "Grain": 0.012,
}  # fmt: skip
BOOK_COLORS: tuple[Triple, ...] = (
    (0.5, 0.09, 0.06), (0.7, 0.55, 0.3), (0.06, 0.12, 0.3), (0.6, 0.6, 0.55), (0.1, 0.25, 0.12),
)  # fmt: skip


def render_shot(archive: str, actor: str, audio: str, folder: str) -> None:
    """Everything, from an empty file to the pictures in `folder`."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    operators = bpy.ops.portrait_actor
    operators.import_actor(directory=actor)
    operators.speak(audio=audio)
    scene = bpy.context.scene
    build_set()
    add_lights(scene)
    set_up_camera(scene)
    plate = render_set(scene, Path(folder) / "set.exr")
    operators.render_actor(
        output=str(Path(folder) / "actor"), file_format="exr", placement="compositor",
        frame_start=FRAMES[0], frame_end=FRAMES[-1], frame_step=2,
    )  # fmt: skip
    group = replace_background(scene, plate)
    render_frame(scene, STILL_FRAME, Path(folder) / "as_it_comes.png")
    for name, value in SLIDERS.items():
        group.inputs[name].default_value = value
    render_frame(scene, STILL_FRAME, Path(folder) / "with_sliders.png")
    group.inputs["Grain"].default_value = 0  # noise is what an animated picture cannot pack
    for frame in FRAMES:
        render_frame(scene, frame, Path(folder) / f"speaking_{frame:04d}.png")


def render_set(scene: bpy.types.Scene, file: Path) -> bpy.types.Image:
    """The set without the actor, with its depth; from then on the scene itself renders as nothing."""
    scene.view_layers[0].use_pass_z = True
    settings = scene.render.image_settings
    settings.media_type, settings.file_format = "MULTI_LAYER_IMAGE", "OPEN_EXR_MULTILAYER"
    render_frame(scene, STILL_FRAME, file)
    settings.media_type, settings.file_format = "IMAGE", "PNG"
    for thing in scene.objects:
        thing.hide_render = True
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    return bpy.data.images.load(str(file))


def replace_background(scene: bpy.types.Scene, plate: bpy.types.Image) -> bpy.types.Node:
    """Puts the rendered set in the place of the scene's own render; returns the actor's group."""
    tree = scene.compositing_node_group
    group = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup")
    image = tree.nodes.new("CompositorNodeImage")
    image.image = plate
    tree.links.new(image.outputs["Combined"], group.inputs["Scene"])
    tree.links.new(image.outputs["Depth"], group.inputs["Scene Depth"])
    return group


def render_frame(scene: bpy.types.Scene, frame: int, file: Path) -> None:
    """Renders and composites one frame."""
    scene.frame_set(frame)
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)


def build_set() -> None:
    """A wall, a shelf with books, a table before the actor, a ball and more books on it."""
    add_box("wall", (0, 0.75, 0), (6, 0.05, 4), (0.1, 0.22, 0.24))
    add_box("shelf", (0, 0.6, 0.02), (3, 0.22, 0.03), (0.32, 0.17, 0.07))
    add_box("table", (0, -0.16, -0.25), (1.2, 0.3, 0.05), (0.16, 0.08, 0.04), 0.4)
    chance, x = random.Random(3), -0.75
    while x < 0.75:
        width, height = chance.uniform(0.025, 0.05), chance.uniform(0.16, 0.24)
        add_box("book", (x, 0.6, 0.035 + height / 2), (0.95 * width, 0.15, height), chance.choice(BOOK_COLORS))
        x += width + chance.choice((0, 0, 0, 0.12))
    add_box("book", (0.22, -0.15, -0.212), (0.14, 0.15, 0.026), (0.5, 0.09, 0.06))
    add_box("book", (0.228, -0.155, -0.187), (0.11, 0.13, 0.024), (0.7, 0.55, 0.3))
    add_box("book", (0.217, -0.15, -0.162), (0.12, 0.14, 0.026), (0.06, 0.12, 0.3))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.055, location=(-0.13, -0.17, -0.17), segments=48, ring_count=24)
    bpy.ops.object.shade_smooth()
    bpy.context.object.data.materials.append(create_material("ball", (0.75, 0.25, 0.05), 0.25))


def add_box(name: str, location: Triple, size: Triple, color: Triple, roughness: float = 0.6) -> None:
    """A cuboid of one colour."""
    bpy.ops.mesh.primitive_cube_add(size=1, location=location)
    thing = bpy.context.object
    thing.name, thing.scale = name, size
    thing.data.materials.append(create_material(name, color, roughness))


def create_material(name: str, color: Triple, roughness: float) -> bpy.types.Material:
    """A plain material."""
    made = bpy.data.materials.new(name)
    if made.node_tree is None:
        made.use_nodes = True
    shader = next(node for node in made.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    shader.inputs["Base Color"].default_value = (*color, 1)
    shader.inputs["Roughness"].default_value = roughness
    return made


def add_lights(scene: bpy.types.Scene) -> None:
    """A warm key, a cool fill, and a dim world."""
    for name, energy, size, color, location, aim in (
        ("key", 18, 0.5, (1, 0.82, 0.6), (0.9, -0.6, 0.7), (0, 0.1, 0)),
        ("fill", 6, 1.5, (0.6, 0.75, 1), (-1.2, -0.8, 0.4), (0, 0.3, 0)),
    ):
        data = bpy.data.lights.new(name, "AREA")
        data.energy, data.size, data.color = energy, size, color
        add_aimed_object(scene, bpy.data.objects.new(name, data), Vector(location), Vector(aim))
    world = scene.world = bpy.data.worlds.new("world")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = (0.05, 0.06, 0.07, 1)


def set_up_camera(scene: bpy.types.Scene) -> None:
    """The shot's camera and how it renders."""
    camera = bpy.data.objects.new("shot", bpy.data.cameras.new("shot"))
    camera.data.lens = 60
    add_aimed_object(scene, camera, Vector((0.16, -1.05, 0.05)), Vector((0.02, 0.1, -0.06)))
    scene.camera = camera
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.samples, cycles.use_denoising = 48, True
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.view_settings.view_transform = "Filmic"


def add_aimed_object(scene: bpy.types.Scene, thing: bpy.types.Object, location: Vector, aim: Vector) -> None:
    """Puts a lamp or a camera there, looking at `aim`."""
    scene.collection.objects.link(thing)
    thing.location = location
    thing.rotation_euler = (aim - location).to_track_quat("-Z", "Y").to_euler()


if __name__ == "__main__":
    render_shot(*sys.argv[sys.argv.index("--") + 1 :])
    sys.stdout.flush()
    os._exit(0)  # Blender as a module may hang or crash while it ends
