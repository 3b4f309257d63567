"""Writes `report.html`: what was found in the footage and how well it was learned.

It may import the packages up to `evaluation`.
"""
