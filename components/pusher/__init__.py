"""TFX's Pusher, writing versions as a server that watches the folder must find them.

in   model           Model
     model_blessing  ModelBlessing, infra_blessing InfraBlessing if there is one
out  pushed_model    PushedModel        where it was pushed, or that it was not

component.py  TFX's component with our executor
executor.py   pushes: whole at once, with a larger number than any before, keeping some old ones
versions.py   the numbered versions in a serving folder; taking one back
"""
