"""Frames out of an actor: a performance and a camera become EXR, PNG or a film."""
