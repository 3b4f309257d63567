"""Separates the person from the background: soft mattes, hair, the background plate.

It may import the packages up to `tracking`.
"""
