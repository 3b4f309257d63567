"""Sound: reading and writing it, and the features that speech animation learns from."""
