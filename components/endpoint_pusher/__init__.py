"""TFX's Pusher to an endpoint of Vertex AI, where a former model's machines are given back.

in   model           Model
     model_blessing  ModelBlessing, infra_blessing InfraBlessing if there is one
out  pushed_model    PushedModel        which Model was deployed, or that none was

undeployment.py  undeploys what gets no traffic from the endpoint that a model was deployed to
executor.py      TFX's executor, and that afterwards
component.py     TFX's component with that executor
"""
