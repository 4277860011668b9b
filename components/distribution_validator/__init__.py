"""TFX's DistributionValidator, also for platforms that hand parameters over as text.

in   statistics           ExampleStatistics
     baseline_statistics  ExampleStatistics, optional: those that they are held against
out  anomalies            ExampleAnomalies

component.py  TFX's component with our executor
executor.py   reads the parameters as the platform gives them
"""
