"""`python -m backend COMMAND …`: everything the backend does, for users, for Blender and for render farms."""

from __future__ import annotations

from .setup.device import configure_native_threads

if __name__ == "__main__":
    configure_native_threads()  # numpy reads the settings when it is imported, which the commands do
    from .cli.commands import exit_process, main

    exit_process(main())
