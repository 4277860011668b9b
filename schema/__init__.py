"""What a cloud record is: its features, its categories with their parts and colours.

This room imports nothing of ours, and importing it never imports TensorFlow.

    categories.py   the 16 ShapeNet categories, their synsets and 50 parts; the parts' colours
    record.py       `CloudRecord`, the Python form of a record, and the names of its features
    cloud_picture.py  draws a cloud in the colours of its parts
    labelled_cloud_files.py  a cloud with its parts as PLY and as plain labels
    schema.pbtxt    the same record as TensorFlow Metadata: what ExampleValidator checks, the ragged
                    tensors [n, 3] and [n] that Transform, the Trainer and serving read
"""
