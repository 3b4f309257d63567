"""As much of Blender's command line as a farm's tasks use, on Blender as a Python module:

PYTHON_WITH_BPY blender.py -b FILE.blend --command portrait_actor …
"""

import os
import sys

import bpy

import addon_utils  # isort: skip (bpy makes it known)

PACKAGE = "bl_ext.user_default.portrait_actor"

assert sys.argv[1] == "-b" and sys.argv[3] == "--command" and sys.argv[4] == "portrait_actor", sys.argv
addon_utils.enable(PACKAGE, default_set=True)
bpy.ops.wm.open_mainfile(filepath=sys.argv[2])
code = sys.modules[f"{PACKAGE}.addon.cli"].main(sys.argv[5:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # Blender's own exit as a module crashes some versions after everything is done
