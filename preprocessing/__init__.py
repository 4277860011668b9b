"""From raw files to tensors that a model can read.

    part_annotation.py  reads the PartAnnotation layout, folder or zip     -> CloudRecord
    demo_shapes.py      makes labelled shapes up, in the same layout
    convert.py          Beam: read, split, write   -> TFRecord train/ val/ test/ + manifest.json
    examples.py         CloudRecord <-> serialized tf.Example
    normalisation.py    [B, N, 3] raw -> centred, largest radius 1: the one rule, for training,
                        evaluation and serving
    sampling.py         [B, N, ...] -> [B, P, ...], a draw that depends on the shape alone
    augmentation.py     scale, shift and jitter a training batch
    transform.py        `preprocessing_fn`: ragged Examples -> points [P, 3], labels [P]
    settings.py         this room's part of the config
"""
