"""The part of Blender's command line that a farm's tasks use, for Blender as a Python module.

PYTHON_WITH_BPY blender_cli.py -b FILE.blend --command portrait_actor …
PYTHON_WITH_BPY blender_cli.py -b FILE.blend -a
"""

import os
import sys

import bpy

import addon_utils  # isort: skip (bpy makes it known)

PACKAGE = "bl_ext.user_default.portrait_actor"

_, background, file, task, *rest = sys.argv
assert background == "-b" and (task == "-a" or (task == "--command" and rest[0] == "portrait_actor")), sys.argv
addon_utils.enable(PACKAGE, default_set=True)
bpy.ops.wm.open_mainfile(filepath=file)
if task == "-a":
    bpy.ops.render.render(animation=True)
    code = 0
else:
    code = sys.modules[f"{PACKAGE}.addon.cli"].main(rest[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # Blender's own exit crashes some versions of the module after everything is done
