"""Moving pictures in and out: `decode` reads any footage as upright RGB frames, `encode` writes films to look at."""
