"""Folders and archives of labelled shapes, one module a layout."""
