"""The Evaluator: metrics, bounds and the verdict that blesses a model."""
