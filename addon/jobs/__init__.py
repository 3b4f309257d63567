"""Backend processes: starting, watching, cancelling; nothing here waits without a time limit."""
