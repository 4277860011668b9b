"""Pages, terminal tables and pictures, from plain values: no TFX, TFMA or TensorFlow here."""
