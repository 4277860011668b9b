"""Where a pushed model meets its users: the client's and the server's side of serving.

Importing it never imports TensorFlow.
"""
