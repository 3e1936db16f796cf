"""Reinforcement learning: prompts, rewards, rollouts, advantages, objectives and the critic."""
