"""The numbers of the field: scaling laws, fitted to runs and used to plan others."""
