"""From users' files to model-ready tensors: clouds, datasets, conversion, tensors, download."""
