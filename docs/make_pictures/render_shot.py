"""Runs inside Blender: the sample actor speaks in a simple set, composited, for the manual's pictures.

python render_shot.py -- ZIP ACTOR AUDIO FOLDER

Writes `as_it_comes.png` and `with_sliders.png`, the same frame before and after the merge group's sliders are moved,
and `speaking_####.png`, every second frame of the line's beginning. Only the actor moves, so the set is rendered once.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

context: Any = bpy.context  # the type stubs make every member optional
operators: Any = bpy.ops

Triple = tuple[float, float, float]
STILL_FRAME = 34  # the frame of both stills, with an open mouth
FRAMES = range(10, 122, 2)  # of the line; every second one of 25 a second makes 12.5
SIZE = (800, 520)  # pixels
SET_SAMPLES = 48  # Cycles' samples per pixel; the set is denoised
LENS = 60  # millimetres
# Settings of the merge group that fit the actor to the set; chosen by eye.
SLIDERS = {
    "Edge": -1.5, "Soften": 1.5, "Spill": 0.6, "Match Color": 0.4, "Match Exposure": 0.2, "Light Wrap": 0.25,
    "Grain": 0.012,
}  # fmt: skip
# Linear RGB.
BOOK_COLORS: tuple[Triple, ...] = (
    (0.5, 0.09, 0.06), (0.7, 0.55, 0.3), (0.06, 0.12, 0.3), (0.6, 0.6, 0.55), (0.1, 0.25, 0.12),
)  # fmt: skip


def render_shot(archive: str, actor: str, audio: str, folder: str) -> None:
    """Render all pictures into `folder`, from an empty file."""
    operators.wm.read_homefile(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    operators.portrait_actor.import_actor(directory=actor)
    operators.portrait_actor.speak(audio=audio)
    scene = context.scene
    build_set()
    add_lights(scene)
    set_up_camera(scene)
    plate = render_set(scene, Path(folder) / "set.exr")
    operators.portrait_actor.render_actor(
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


def render_set(scene: Any, file: Path) -> bpy.types.Image:
    """Render the set without the actor, with its depth, and hide it in the scene."""
    scene.view_layers[0].use_pass_z = True
    settings = scene.render.image_settings
    settings.media_type, settings.file_format = "MULTI_LAYER_IMAGE", "OPEN_EXR_MULTILAYER"
    render_frame(scene, STILL_FRAME, file)
    settings.media_type, settings.file_format = "IMAGE", "PNG"
    for obj in scene.objects:
        obj.hide_render = True
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    return bpy.data.images.load(str(file))


def replace_background(scene: Any, plate: bpy.types.Image) -> Any:
    """Replace the scene's own render by the rendered set, and return the merge group's node."""
    tree = scene.compositing_node_group
    group = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup")
    image = tree.nodes.new("CompositorNodeImage")
    image.image = plate
    tree.links.new(image.outputs["Combined"], group.inputs["Scene"])
    tree.links.new(image.outputs["Depth"], group.inputs["Scene Depth"])
    return group


def render_frame(scene: Any, frame: int, file: Path) -> None:
    """Render and composite one frame."""
    scene.frame_set(frame)
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)


def build_set() -> None:
    """Build a wall, a shelf with books, and a table in front of the actor with a ball and more books on it."""
    add_box("wall", (0, 0.75, 0), (6, 0.05, 4), (0.1, 0.22, 0.24))
    add_box("shelf", (0, 0.6, 0.02), (3, 0.22, 0.03), (0.32, 0.17, 0.07))
    add_box("table", (0, -0.16, -0.25), (1.2, 0.3, 0.05), (0.16, 0.08, 0.04), 0.4)
    rng, x = random.Random(3), -0.75
    while x < 0.75:
        width, height = rng.uniform(0.025, 0.05), rng.uniform(0.16, 0.24)
        add_box("book", (x, 0.6, 0.035 + height / 2), (0.95 * width, 0.15, height), rng.choice(BOOK_COLORS))
        x += width + rng.choice((0, 0, 0, 0.12))
    add_box("book", (0.22, -0.15, -0.212), (0.14, 0.15, 0.026), (0.5, 0.09, 0.06))
    add_box("book", (0.228, -0.155, -0.187), (0.11, 0.13, 0.024), (0.7, 0.55, 0.3))
    add_box("book", (0.217, -0.15, -0.162), (0.12, 0.14, 0.026), (0.06, 0.12, 0.3))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.055, location=(-0.13, -0.17, -0.17), segments=48, ring_count=24)
    bpy.ops.object.shade_smooth()
    context.object.data.materials.append(create_material("ball", (0.75, 0.25, 0.05), 0.25))


def add_box(name: str, location: Triple, size: Triple, color: Triple, roughness: float = 0.6) -> None:
    """Add a cuboid of one color."""
    bpy.ops.mesh.primitive_cube_add(size=1, location=location)
    box = context.object
    box.name, box.scale = name, size
    box.data.materials.append(create_material(name, color, roughness))


def create_material(name: str, color: Triple, roughness: float) -> Any:
    """Create a plain material."""
    material: Any = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    shader.inputs["Base Color"].default_value = (*color, 1)
    shader.inputs["Roughness"].default_value = roughness
    return material


def add_lights(scene: Any) -> None:
    """Add a warm key, a cool fill, and a dim world."""
    for name, energy, size, color, location, aim in (
        ("key", 18, 0.5, (1, 0.82, 0.6), (0.9, -0.6, 0.7), (0, 0.1, 0)),
        ("fill", 6, 1.5, (0.6, 0.75, 1), (-1.2, -0.8, 0.4), (0, 0.3, 0)),
    ):
        data: Any = bpy.data.lights.new(name, "AREA")
        data.energy, data.size, data.color = energy, size, color
        add_aimed_object(scene, bpy.data.objects.new(name, data), Vector(location), Vector(aim))
    world: Any = bpy.data.worlds.new("world")
    scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = (0.05, 0.06, 0.07, 1)


def set_up_camera(scene: Any) -> None:
    """Set up the shot's camera and the render settings."""
    camera: Any = bpy.data.objects.new("shot", bpy.data.cameras.new("shot"))
    camera.data.lens = LENS
    add_aimed_object(scene, camera, Vector((0.16, -1.05, 0.05)), Vector((0.02, 0.1, -0.06)))
    scene.camera = camera
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.samples, cycles.use_denoising = SET_SAMPLES, True
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.view_settings.view_transform = "Filmic"


def add_aimed_object(scene: Any, obj: bpy.types.Object, location: Vector, aim: Vector) -> None:
    """Put a lamp or a camera at `location`, looking at `aim`."""
    scene.collection.objects.link(obj)
    obj.location = location
    obj.rotation_euler = (aim - location).to_track_quat("-Z", "Y").to_euler()


if __name__ == "__main__":
    render_shot(*sys.argv[sys.argv.index("--") + 1 :])
    sys.stdout.flush()
    os._exit(0)  # Blender as a module may hang or crash while it ends
