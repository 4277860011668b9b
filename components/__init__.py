"""Our TFX components, and our metrics for TFX's Evaluator.

cloud_validator/          Examples, anomalies -> sound Examples, quarantine
data_inspection/          any source of clouds -> tables and an HTML page, before a run (no TFX)
data_report/              statistics, anomalies, drift, skew -> one HTML page on the data
distribution_validator/   TFX's DistributionValidator, also where parameters are text
endpoint_pusher/          blessed model -> Vertex AI's endpoint, which former models leave
evaluator/                test Examples, model, blessed model -> metrics, verdict, blessing
model_server_probe/       exported model, test clouds -> would a server answer? InfraBlessing
notification/             verdict -> a message to a webhook or a program, if it is no blessing
predicted_parts/          inference results -> each unlabelled cloud's parts as files and Examples
production_model/         serving folder -> the newest pushed version, where there is no Resolver
pusher/                   blessed model -> a numbered version in the serving folder
segmented_page/           clouds whose parts a model named -> one HTML page (no TFX)
segmentation_report/      evaluation, model, test Examples -> one HTML page that a person reads
transform/                TFX's Transform, also where a lost machine's job is started again
segmentation_metrics.py   part-segmentation metrics for TFMA
anomalies.py              what TFX's validators found, in sentences
distribution_limits.py    which distributions are compared, and how far they may differ
html_page.py              fills in and styles our pages
turnable_cloud.py         clouds that can be turned in the browser
settings.py               this room's part of the config
"""
