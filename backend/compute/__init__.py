"""Numerical building blocks: compiled kernels, SIMD vectors, structural similarity, rotations in torch.

The package may import `contract`, `setup` and `media`.
"""
