"""What is launched to measure: `run` evaluates a model beside its baselines."""
