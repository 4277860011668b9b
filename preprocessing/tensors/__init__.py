"""TensorFlow code shared by Transform, training, evaluation and serving."""
