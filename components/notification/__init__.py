"""Tells people of a run that did not end in a blessed model.

    verdict, or the component that failed -> one JSON message -> a webhook, a program

On one machine the local runner sends it, which also knows of a component that failed. On a cluster
Notification does, a component behind the Evaluator; of a failed component its platform tells.
"""
