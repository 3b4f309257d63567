"""The model of the actor's picture: Gaussians, their motion branches, their initial state and their storage.

It may import the packages up to `dataset`.
"""
