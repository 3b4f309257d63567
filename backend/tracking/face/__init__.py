"""Fits the blend-shape rig: turns landmarks into channels, calibrated to the person.

It may import what `tracking` may import, `tracking.detection` and `tracking.pose`.
"""
