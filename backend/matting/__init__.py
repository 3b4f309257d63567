"""Separates the person from the background: soft mattes, hair, and the background plate.

It may import the packages up to `tracking`.
"""
