"""Learning from comparisons and ratings: reading them, references, losses and how runs are evaluated."""
