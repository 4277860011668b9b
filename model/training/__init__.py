"""Training: TFX's `run_fn` and `tuner_fn`, the loop and what it needs."""
