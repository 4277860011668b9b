"""CloudValidator: what statistics cannot see of a cloud, between ExampleValidator and Transform.

in   examples        Examples, any splits, gzip tf.Examples (see schema/record.py)
     anomalies       ExampleAnomalies of ExampleValidator; one of severity ERROR stops the run here
     drift, skew     ExampleAnomalies of DistributionValidator, where a shift is to stop the run
out  sound_examples  Examples, the same splits, files and order, without the refused clouds
     quarantine      CloudQuarantine: Split-<name>/ with the refused records byte for byte,
                     findings.jsonl with the reasons, summary.json with the counts

checks.py         the checks, pure functions on NumPy arrays
stored_record.py  takes a stored record apart for them
executor.py       reads, checks and writes in Beam; only verdicts are shuffled, never points
component.py      the component and its artifact type
"""
