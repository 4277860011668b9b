"""Our TFX components, and our metrics for TFX's Evaluator.

cloud_validator/          Examples, anomalies -> sound Examples, quarantine
segmentation_report/      evaluation, model, test Examples -> one HTML page that a person reads
segmentation_metrics.py   part-segmentation metrics for TFMA
settings.py               this room's part of the config
"""
