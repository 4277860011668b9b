"""From users' files to model-ready tensors.

clouds/ one file to arrays and back; datasets/ a folder or zip of labelled shapes; conversion/ the
Beam job that writes TFRecords; tensors/ the TensorFlow code that Transform, training, evaluation
and serving share; download.py the published archives.
"""
