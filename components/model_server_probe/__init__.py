"""ModelServerProbe: would a model server answer with this model? Without Docker.

in   model     Model          as exported, and as trained
     examples  Examples       test clouds, split `test`
out  blessing  InfraBlessing  what TFX's Pusher honours; probe.json says what was found

The model is loaded in a process of its own by the session that TensorFlow Serving runs, and answers
requests made of test clouds. Where a Docker daemon is, TFX's InfraValidator does this with the real
server instead.

component.py       the component
executor.py        requests, the judgement, the blessing
answer_requests.py the process: TensorFlow and NumPy only, none of our code
docker.py          whether a Docker daemon is there
"""
