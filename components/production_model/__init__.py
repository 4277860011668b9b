"""ProductionModel: the model that serves now, where a platform has no Resolver to find it.

in   nothing; the serving folder is a parameter
out  model    Model     a copy of the newest pushed version; empty where none was pushed yet

component.py  the component
executor.py   copies
"""
