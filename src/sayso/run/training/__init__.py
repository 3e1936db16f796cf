"""What acts that train share: a run that resumes, its layout, its steps, its judgements and samples."""
