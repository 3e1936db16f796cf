"""Sources -> documents: reading, cleaning, quality rules, deduplication, decontamination, splits."""
