"""Tracks a face: landmarks become a camera, head and torso poses, and channels per frame.

It may import `contract`, `setup`, `media`, `compute` and `rasterizer`.
"""
