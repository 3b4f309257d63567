"""`python -m backend COMMAND …`: everything the backend does, for users, for Blender and for render farms."""

from __future__ import annotations

from .cli.commands import exit_process, main

if __name__ == "__main__":
    exit_process(main())
