"""The extension's preferences: where the backend is and what it may use."""

import bpy

from .contract import PACKAGE, install_torch
from .jobs import environment, job
from .panels.job_box import draw_job, draw_setup
from .panels.panel_base import draw_text
from .translations import sentence
from .translations.props import EnumProperty, StringProperty

DEVICES = (
    ("auto", "Automatic", "A CUDA GPU when there is one, else the CPU"),
    ("cpu", "CPU", "Slower; works everywhere"),
    ("cuda", "CUDA", "An NVIDIA GPU"),
)
ON_QUIT = (
    ("STOP", "Stop, and Resume Later", "Create Actor ends with Blender, and goes on where it was when pressed again"),
    ("GO_ON", "Go On Training", "Create Actor goes on without Blender; pressed again, it waits for it and imports it"),
)


class PortraitActorPreferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    device: EnumProperty(
        name="Device",
        description="What trains and renders actors, and what Set Up Backend installs PyTorch for",
        items=DEVICES,
        default="auto",
    )
    on_quit: EnumProperty(
        name="When Blender Closes", description="What becomes of an actor in the making", items=ON_QUIT, default="STOP"
    )
    cache_folder: StringProperty(
        name="Cache Folder",
        description="For the backend, job files and logs; empty takes Blender's folder for this extension",
        subtype="DIR_PATH",
    )
    host_python: StringProperty(
        name="Python 3.11 or 3.12",
        description="Makes the backend's environment; empty looks for one on this computer",
        subtype="FILE_PATH",
    )
    wheels: StringProperty(
        name="Wheels",
        description="Folder of Python packages to set up from without a network; empty downloads them",
        subtype="DIR_PATH",
    )
    backend_python: StringProperty(
        name="Backend's Python",
        description="A Python that has the backend's packages already; empty takes the one that Set Up Backend made",
        subtype="FILE_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        state, shown = environment.state(), job.current()
        if state is not environment.State.READY and not job.is_busy():
            draw_setup(layout.box(), state)
        if state.usable:
            row = layout.row()
            row.label(text=sentence(f"The backend is {state.value}."), icon="CHECKMARK")
            row.operator("portrait_actor.check_backend", icon="VIEWZOOM")
            row.operator("portrait_actor.setup_backend", text="Repair Backend", icon="TOOL_SETTINGS").again = True
        if shown is not None:
            draw_job(layout.box(), shown)
        if install_torch.wants_cuda(self.device) and not install_torch.has_compiler():
            draw_text(layout, sentence(install_torch.KERNELS), "INFO")
        for name in ("device", "on_quit", "cache_folder", "host_python", "wheels", "backend_python"):
            layout.prop(self, name)


CLASSES = (PortraitActorPreferences,)
