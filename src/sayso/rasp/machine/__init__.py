"""Long-running machines in weights: a next-token dialect whose every step costs O(log n), and a stack machine in it."""
