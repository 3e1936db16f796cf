"""A life's files turned into its story: facts, figures, drawings, a page."""
