"""DataReport: what TFDV knows of a run's data, as one page, before anything is trained on it.

in   statistics   ExampleStatistics of StatisticsGen
     anomalies    ExampleAnomalies of ExampleValidator
     skew         ExampleAnomalies of DistributionValidator: val and test against train
     drift        the same against the last run's training clouds; may be left out
out  data_report  data_report.html, and findings.json, the sentences that the run's summary repeats

figures.py    a split's figures from its statistics
page.py       builds the page from plain values; page.html is its template
executor.py   reads the artifacts, writes the page
component.py  the component and its artifact type
"""
