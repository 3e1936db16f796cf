"""Learning from comparisons and ratings: data, reference models, losses and evaluation."""
