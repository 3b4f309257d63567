"""Measures an actor on held-out frames.

It may import the packages up to `rendering`.
"""
