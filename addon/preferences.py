"""The extension's preferences: where the backend is and what it may use."""

import bpy

from .contract import PACKAGE
from .jobs import environment
from .translations import sentence
from .translations.props import EnumProperty, StringProperty

DEVICES = (
    ("auto", "Automatic", "A CUDA GPU when there is one, else the CPU"),
    ("cpu", "CPU", "Slower; works everywhere"),
    ("cuda", "CUDA", "An NVIDIA GPU"),
)


class PortraitActorPreferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    device: EnumProperty(name="Device", description="What trains and renders actors", items=DEVICES, default="auto")
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
        state = environment.state()
        row = layout.row()
        row.label(
            text=sentence(f"The backend is {state.value}."),
            icon="CHECKMARK" if state is environment.State.READY else "ERROR",
        )
        row.operator("portrait_actor.setup_backend", icon="IMPORT")
        for name in ("device", "cache_folder", "host_python", "wheels", "backend_python"):
            layout.prop(self, name)


CLASSES = (PortraitActorPreferences,)
