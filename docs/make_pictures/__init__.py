"""Makes the pictures of the manual from the sample actor; see `__main__`."""
