"""What every package shares; it imports nothing of ours and never TensorFlow."""
