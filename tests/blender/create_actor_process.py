"""A Blender in which Create Actor runs until a test kills it. It prints the job's state as a JSON line per change.

PYTHON_WITH_BPY create_actor_process.py VIDEO FOLDER WHEN_BLENDER_CLOSES
"""

import json
import sys
import threading
import time
from typing import Any

import bpy

import addon_utils  # isort: skip (bpy makes it known)

PACKAGE = "bl_ext.user_default.portrait_actor"


def print_job_changes() -> None:
    """Print the current job's state from a thread, because Blender without a window waits for the job."""
    job_module, before = sys.modules[f"{PACKAGE}.addon.jobs.job"], None
    while True:
        job = job_module.current_job()
        if job is not None:
            step = job.progress
            state = {"pid": job.process.pid, "log": str(job.log), "notes": list(job.notes)}
            state |= {"stage": step.stage, "done": step.done} if step else {"stage": "", "done": 0}
            if state != before:
                print(json.dumps(state), flush=True)
            before = state
        time.sleep(0.05)


video, folder, on_quit = sys.argv[1:]
addon_utils.enable(PACKAGE, default_set=True)
preferences: Any = bpy.context.preferences
preferences.addons[PACKAGE].preferences.on_quit = on_quit
threading.Thread(target=print_job_changes, daemon=True).start()
operators: Any = bpy.ops
operators.portrait_actor.create_actor(video=video, folder=folder, preset="tiny")
