"""Writes `report.html`: what tracking and matting found in the footage, and how well the actor was trained.

It may import the packages up to `evaluation`.
"""
