"""The initial Gaussians of each part: face, eyes, mouth, hair, neck and torso.

The package may import what `portrait` may import, and `seeds`, `labels` and `unprojection` of `portrait`.
"""
