"""Numerical building blocks with kernels of their own: compiled loops, SIMD vectors, SSIM, rotations in torch.

It may import `contract`, `setup` and `media`.
"""
