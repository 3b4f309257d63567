"""Estimates rigid motion: perspective-n-point, bundle adjustment, and templates that are tracked patch by patch.

It may import what `tracking` may import, and `tracking.detection`.
"""
