"""What `import sayso` offers: `load` a model, and a `Life` whose methods are the acts."""
