"""A loss to better weights: optimizers, schedules, the one loop of every stage, and the dial that sizes a run."""
