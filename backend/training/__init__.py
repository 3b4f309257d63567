"""Trains the portrait: alternating optimisation, losses, regularizers, densification.

It may import the packages up to `speech`. The way from a video to an actor is in `pipeline`.
"""
