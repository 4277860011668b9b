"""The exported SavedModel: its signatures, their limits, and the trained network beside them."""
