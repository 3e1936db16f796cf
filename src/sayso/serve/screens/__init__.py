"""The routes of the page's screens, a module for each."""
