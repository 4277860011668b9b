"""The pipeline: its config, its graph, and one runner a place.

config.py        `PipelineConfig`: every setting, typed, checked and printed
presets/         demo, few_shapes, airplane, all, keras_example: configs by name
graph.py         `create_pipeline`: the one graph, for every runner
fingerprint.py   a hash of the code that a component runs, so that caching sees code changes
execution.py     runs a pipeline with TFX's local engine
logs.py          sends the libraries' logs to a file
local_runner.py  runs the graph on this machine; `make run` and `tfx run` both come here
summary.py       what a person reads at the end of a run
cli.py           the command `pointnet-parts`
"""
