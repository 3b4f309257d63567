"""The synthetic actor: a talking head made by code, with exact ground truth. It shows no real person.

It may import the packages up to `report`.
"""

from .ground_truth import GroundTruth
from .make import SampleOptions, ground_truth_path, make_sample, make_speech_line

__all__ = ["GroundTruth", "SampleOptions", "ground_truth_path", "make_sample", "make_speech_line"]
