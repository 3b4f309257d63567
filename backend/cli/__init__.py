"""The command line of `python -m backend`: commands, console output, and the preview service for Blender.

The highest package: it may import every other.
"""
