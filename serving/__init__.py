"""Where a pushed model meets its users: the client's and the server's side of serving.

Importing it never imports TensorFlow.

segmenter.py         the protocol: clouds -> each point's part and probabilities
exported_model.py    ... by a SavedModel in this process
grpc_client.py       ... by TensorFlow Serving's gRPC
rest_client.py       ... by its REST
server_address.py    HOST:PORT, before anything connects
announced_retry.py   REST's repetitions, and a word when they begin
certificates.py      whom an encrypted connection believes
padded_request.py    a request of clouds of different sizes, and its answer
batches.py           which clouds go together
parts_table.py       the parts that a model knows
segmented_cloud.py   a cloud with its parts
writers.py           ... as .seg, .csv, .npz, PLY and PNG
model_config.py      TensorFlow Serving's model config: versions and their labels
serving_error.py     what went wrong, in a sentence
tensorflow_serving/  the server's side: compose file, its config, Kubernetes manifests, alerts
"""
