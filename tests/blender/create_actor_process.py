"""A Blender in which Create Actor runs, to be killed. Prints what the sidebar would show, a JSON line a change.

PYTHON_WITH_BPY create_actor_process.py VIDEO FOLDER WHEN_BLENDER_CLOSES
"""

import json
import sys
import threading
import time

import bpy

import addon_utils  # isort: skip (bpy makes it known)

PACKAGE = "bl_ext.user_default.portrait_actor"


def print_job_changes() -> None:
    """Looks at the current job from beside, as Blender without a window waits for it."""
    jobs, before = sys.modules[f"{PACKAGE}.addon.jobs.job"], None
    while True:
        job = jobs.current_job()
        if job is not None:
            step = job.progress
            now = {"pid": job.process.pid, "log": str(job.log), "notes": list(job.notes)}
            now |= {"stage": step.stage, "done": step.done} if step else {"stage": "", "done": 0}
            if now != before:
                print(json.dumps(now), flush=True)
            before = now
        time.sleep(0.05)


video, folder, on_quit = sys.argv[1:]
addon_utils.enable(PACKAGE, default_set=True)
bpy.context.preferences.addons[PACKAGE].preferences.on_quit = on_quit
threading.Thread(target=print_job_changes, daemon=True).start()
bpy.ops.portrait_actor.create_actor(video=video, folder=folder, preset="tiny")
