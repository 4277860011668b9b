"""TFX's Evaluator for part segmentation.

in   examples        Examples            sound clouds; split `test`
     model           Model               the trained one
     baseline_model  Model, optional     the blessed one
out  evaluation      ModelEvaluation     TFMA's files; verdict.json: every bound, met or missed
     blessing        ModelBlessing       whether the model may serve

component.py   TFX's component with our executor
executor.py    TFX's work, then the verdict
slicing.py     names each cloud's bucket of sizes for TFMA
verdict.py     what each bound needed, what was measured, by how much it was missed
size_buckets.py  the buckets
metrics.py     what TFMA wrote, as plain values
"""
