"""Speech animation: audio features, and the model that turns them into channels and head motion.

It may import the packages up to `portrait`.
"""
