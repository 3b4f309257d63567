"""One file per verb that the artist knows. Each has a function that does it and a thin operator that calls it."""
