"""Training: optimizers, schedules, the loop that all stages share, resumable runs, and sizing by one dial."""
