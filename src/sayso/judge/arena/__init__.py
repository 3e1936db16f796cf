"""Chat models compared by judges: pairs of replies, win rates, and rankings from games."""
