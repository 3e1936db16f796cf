"""What reinforce, improve and selfplay share: prompts, rewards, sampling, rounds and iterations."""
