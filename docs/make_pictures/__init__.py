"""Takes the pictures of the manual from the sample actor; `__main__` says how."""
