"""Finds the face in every frame and selects the part of the footage that an actor can be learned from.

It may import what `tracking` may import.
"""
