"""The sample actor: a talking head made by code, with exact ground truth. It shows no real person."""

from .make import SampleOptions, make_line, make_sample, truth_path
from .truth import Truth

__all__ = ["SampleOptions", "Truth", "make_line", "make_sample", "truth_path"]
