"""TFX's Transform, also where a machine is lost after the graph was written.

graph_writing.py  writes the graph also where an earlier attempt wrote one
executor.py       TFX's executor with it
component.py      TFX's component with that executor
"""
