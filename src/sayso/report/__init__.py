"""Turns a life's files into its report: facts, figures, drawings, a page."""
