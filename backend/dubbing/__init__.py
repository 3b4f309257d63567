"""Dubbing: the footage's own shot with another line on the actor's lips."""
