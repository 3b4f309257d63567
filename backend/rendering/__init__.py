"""Renders a performance: an actor and a camera become EXR, PNG or MP4 files.

It may import the packages up to `training`.
"""
