"""Learning from preferences and rewards: preference optimization, reinforcement learning, self-improvement."""
