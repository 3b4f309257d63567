"""Speed and accuracy: each module NAME.py has ``run() -> dict[str, float]``; `table.py` runs them all."""
