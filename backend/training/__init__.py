"""Optimization of the portrait: phases, losses, regularizers, densification and checkpoints.

It may import the packages up to `speech`.
"""
