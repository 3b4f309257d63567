"""Makes and checks the backend's environment: installation, doctor, choice of device, one creation at a time.

It may import `contract`; what runs before the installation needs only the standard library.
"""
