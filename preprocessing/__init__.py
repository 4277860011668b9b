"""From raw files to tensors that a model can read.

download.py         a data set's archive from its addresses (data_sources.yaml): fetch.py resumes,
                    unpack.py unpacks what nobody need trust
layouts.py          which reader fits a folder or zip
part_annotation.py  reads the PartAnnotation layout                            -> CloudRecord
benchmark.py        reads the part benchmark's two text layouts                -> CloudRecord
benchmark_hdf5.py   reads its HDF5 form                                        -> CloudRecord
own_clouds.py       reads the user's PLY, NumPy and text files, named in a clouds.yaml
cloud_files.py      parses one such file, by its ending
mesh_files.py       parses OFF and OBJ meshes, and draws points from their faces
number_table.py     parses tables of numbers, and says which line is wrong
demo_shapes.py      makes labelled shapes up, in the PartAnnotation layout
convert.py          Beam: read, split, write  -> TFRecord train/ val/ test/ + manifest.json
destination.py      where a conversion writes: a folder, or object storage, of which
                    cloud_storage.py asks Google's briefly first
spans.py            deliveries -> spans; the newest of them -> one data set
examples.py         CloudRecord <-> serialized tf.Example
normalisation.py    [B, N, 3] raw -> centred, largest radius 1: the one rule, for training,
                    evaluation and serving
sampling.py         [B, N, ...] -> [B, P, ...], a draw that depends on the shape alone
augmentation.py     scale, shift and jitter a training batch
transform.py        `preprocessing_fn`: ragged Examples -> points [P, 3], labels [P]
findings.py         what is wrong with the input, said so that one can act on it
settings.py         this room's part of the config
"""
