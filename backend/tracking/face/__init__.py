"""Fits the blend-shape rig: landmarks become channels, calibrated to the person.

It may import what `tracking` may import, `tracking.detection` and `tracking.pose`.
"""
