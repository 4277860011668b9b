"""PredictedParts: what the blessed model says of clouds without labels, as files and as Examples.

in   inference_result    InferenceResult of BulkInferrer: PredictionLogs of `serve_examples`
out  predicted_parts     a PLY and a labels file a cloud, clouds.csv
     predicted_examples  Examples with `predicted_part` and `probability` beside the cloud

BulkInferrer's own Examples would hold answers padded to the longest cloud of a batch, and no
probabilities, which have one dimension too many for it.

inference_results.py  PredictionLog -> a cloud with its answer
bulk_inferrer.py      TFX's BulkInferrer with batches that fit into memory
executor.py           writes files and Examples, one cloud in memory at a time
component.py          the component and its artifact type
"""
