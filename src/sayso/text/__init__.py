"""The world -> documents: sources, cleaning, quality rules, duplicates, contamination, splits, and the small world."""
