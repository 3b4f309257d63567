"""The training data of an actor, on disk and in memory: crops, mattes, training and held-out frames.

It may import the packages up to `matting`.
"""
