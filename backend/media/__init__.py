"""Reads and writes media files: video, audio, images, and the provenance they carry.

It may import `contract` and `setup`.
"""
