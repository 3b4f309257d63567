"""The portrait: the actor's Gaussians, their branches, their initial state and their storage.

The package may import the packages up to `dataset`.
"""
