"""The jobs from end to end: scan and prepare footage, create an actor, retarget a video, dub a shot.

It may import every package but `cli`.
"""
