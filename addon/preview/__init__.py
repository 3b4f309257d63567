"""The live preview: a warm backend process draws the current frame, the viewport shows it over the camera's view."""
