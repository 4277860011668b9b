"""The pipeline: its config, its graph, and one runner a place.

config.py        `PipelineConfig`: every setting, typed, checked and printed
presets/         demo, few_shapes, airplane, light, all, paper, keras_example, cluster_example:
                 configs by name
graph.py         `create_pipeline`: the one graph, for every runner
fingerprint.py   a hash of the code that a component runs, so that caching sees code changes
execution.py     runs a pipeline with TFX's local engine
logs.py          sends the libraries' logs to a file
local_runner.py  runs the graph on this machine; `make run` and `tfx run` both come here
platforms.py     what the graph needs to know of the platform that runs it
vertex_runner.py, kubeflow_runner.py  compile the graph for Vertex AI and for Kubeflow Pipelines;
                 compilation.py holds what both share, cluster_settings.py what can be set
vertex_checks.py, kubeflow_checks.py  what is wrong with a config for them, said before TensorFlow
                 is loaded; cluster_checks.py holds what both share
runtime_parameters.py  what a run of a compiled pipeline may set
cluster_step.py  the command that a cluster starts in our image for each step
specs.py         compiles for every cluster that a config names: `compile`
submission.py    hands a compiled pipeline to a cluster: `submit`; what it raises stands in
                 submission_error.py, what is refused before in submission_checks.py
beam_settings.py where Beam's work runs; beam_workers.py asks those machines first
predictions.py   copies the parts of unlabelled clouds to where a person looks
baseline.py      which blessed model a new one is measured against
previous_statistics.py  the statistics of the last run with other data
standalone_training.py  trains outside a pipeline what a run trained: `train`
evaluation.py    measures exported models outside a pipeline: `evaluate`, `compare`, with
                 evaluation_inputs.py, which finds the models and reads the clouds
segment.py       names the parts of one's own clouds: `segment`, with clouds_to_segment.py, which
                 reads them, and segmented_folder.py, which writes
serve.py         starts TensorFlow Serving on what was pushed: `serve`
labels.py        which versions a server has, by labels: `labels`
withdraw.py      takes a version back unless a server would have none left: `withdraw`
request_log.py   keeps what a model was asked for; skew.py holds it against training clouds: `skew`
summary.py       what a person reads at the end of a run
cli.py           the command `pointnet-parts`
"""
