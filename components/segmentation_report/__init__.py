"""SegmentationReport: one HTML page of a run, made for a person.

in   evaluation  ModelEvaluation      metrics of the model and of the blessed one, the verdict
     model       Model                names the parts of the clouds that are drawn
     model_run   ModelRun             curves.csv
     examples    Examples             the clouds; split `test`
     data_report DataReport           what is unusual about the data
out  report      SegmentationReport   report.html, self-contained; clouds/*.png

executor.py   reads the artifacts, predicts, writes
page.py       builds the page from plain values; page.html is its template
charts.py     learning curves and histogram as pictures
component.py  the component and its artifact type
"""
