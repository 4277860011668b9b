"""What is measured, how, and against what: `make bench`.

conversion.py      raw shapes -> TFRecords
transform.py       TFRecords -> normalised samples: the graph alone, and the whole component
network.py         PointNet's formulations: training step, inference, memory
epoch.py           a training epoch with its input pipeline
evaluation.py      the Evaluator: the model's share of its time
serving.py         the exported signature, and the client around it
serving_load.py    many clients and malformed requests at a server
quality.py         what the training recipe is worth
example_loops.py   our rendition of the published example's loops, the data path's baseline
example_recipe.py  the published example's recipe, faults included, the quality's baseline
results.py         bench/out/results.json
"""
