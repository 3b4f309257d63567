"""The modules of the installed extension that tests call, typed as the modules of the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

ADDON_MODULES = (
    "cli",
    "contract",
    "jobs.environment",
    "jobs.job",
    "jobs.main_thread",
    "jobs.process",
    "operators.create_actor",
    "operators.footage_report",
    "panels",
    "preview.live_preview",
    "rna",
    "scene.camera",
    "scene.card",
    "scene.compat",
    "scene.compositing",
    "scene.conventions",
    "scene.merge_group",
    "scene.rig",
    "scene.sampling",
    "scene.scene_actor",
    "scene.sound",
    "scene.takes",
    "thumbnails",
)


class AddonModules:
    """Namespace with each module of `ADDON_MODULES` under its last name, e.g. `addon.takes`."""

    if TYPE_CHECKING:
        from addon import cli, contract, panels, rna, thumbnails
        from addon.jobs import environment, job, main_thread, process
        from addon.operators import create_actor, footage_report
        from addon.preview import live_preview
        from addon.scene import (
            camera,
            card,
            compat,
            compositing,
            conventions,
            merge_group,
            rig,
            sampling,
            scene_actor,
            sound,
            takes,
        )
