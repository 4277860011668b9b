"""What every package shares: clouds and categories, settings, errors, documents, atomic writes.

It imports nothing of ours and never TensorFlow. `schema.pbtxt` describes the record to TFX.
"""
