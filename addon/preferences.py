"""The extension's preferences: the backend, its device and its folders."""

from typing import Any

import bpy

from .contract import PACKAGE, install_torch
from .jobs import environment, job
from .panels.job_box import draw_job, draw_setup
from .panels.panel_base import draw_wrapped_text
from .translations import translate_message
from .translations.props import EnumProperty, StringProperty

DEVICE_ITEMS = (
    ("auto", "Automatic", "A CUDA GPU when there is one, else the CPU"),
    ("cpu", "CPU", "Slower; works everywhere"),
    ("cuda", "CUDA", "An NVIDIA GPU"),
)
ON_QUIT_ITEMS = (
    (
        "STOP",
        "Stop, and Resume Later",
        "Create Actor stops with Blender, and resumes where it stopped when pressed again",
    ),
    (
        "GO_ON",
        "Go On Training",
        "Create Actor keeps running without Blender. Press it again to wait for the actor and import it",
    ),
)


class PortraitActorPreferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    device: EnumProperty(
        name="Device",
        description="Device that trains and renders actors, and for which Set Up Backend installs PyTorch",
        items=DEVICE_ITEMS,
        default="auto",
    )
    on_quit: EnumProperty(
        name="When Blender Closes",
        description="What happens to an actor that is being created",
        items=ON_QUIT_ITEMS,
        default="STOP",
    )
    cache_folder: StringProperty(
        name="Cache Folder",
        description="For the backend, job files and logs; empty uses Blender's folder for this extension",
        subtype="DIR_PATH",
    )
    host_python: StringProperty(
        name="Python 3.11 or 3.12",
        description="Python that makes the backend's environment; empty searches this computer for one",
        subtype="FILE_PATH",
    )
    wheels: StringProperty(
        name="Wheels",
        description="Folder of Python packages to set up from without a network; empty downloads them",
        subtype="DIR_PATH",
    )
    backend_python: StringProperty(
        name="Backend's Python",
        description="A Python that has the backend's packages already; empty uses the one that Set Up Backend made",
        subtype="FILE_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the backend's state, the current job, and the settings."""
        layout = self.layout
        layout.use_property_split = True
        state, current_job = environment.read_state(), job.current_job()
        if state is not environment.BackendState.READY and not job.is_busy():
            draw_setup(layout.box(), state)
        if state.is_usable:
            row = layout.row()
            row.label(text=translate_message(f"The backend is {state.value}."), icon="CHECKMARK")
            row.operator("portrait_actor.check_backend", icon="VIEWZOOM")
            repair: Any = row.operator("portrait_actor.setup_backend", text="Repair Backend", icon="TOOL_SETTINGS")
            repair.again = True
        if current_job is not None:
            draw_job(layout.box(), current_job)
        if install_torch.wants_cuda(self.device) and not install_torch.has_cuda_toolkit():
            draw_wrapped_text(layout, translate_message(install_torch.KERNEL_BUILD_NOTE), "INFO")
        for name in ("device", "on_quit", "cache_folder", "host_python", "wheels", "backend_python"):
            layout.prop(self, name)


CLASSES = (PortraitActorPreferences,)
