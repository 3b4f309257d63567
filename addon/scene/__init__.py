"""The actor in the Blender scene: rig, proxy face, takes, camera, sound, compositing."""
