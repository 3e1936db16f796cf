"""What runs that learn from preferences and rewards share: rollouts, rewards, references, warnings."""
