"""What the add-on and the backend share: protocol, channels, performance, actor folder, camera file.

The lowest package. It needs only the standard library and numpy, so that Blender can import it.
"""
