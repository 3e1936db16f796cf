"""What align and reward share: comparisons, references, and how a run is judged by those held out."""
