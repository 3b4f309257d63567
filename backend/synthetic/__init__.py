"""The synthetic sample actor: a talking head made by code, with exact ground truth. It shows no real person.

It may import the packages up to `report`.
"""

from .ground_truth import Truth
from .make import SampleOptions, make_line, make_sample, truth_path

__all__ = ["SampleOptions", "Truth", "make_line", "make_sample", "truth_path"]
