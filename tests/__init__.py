"""Tests: the folders mirror the rooms; `e2e` runs whole pipelines, `fuzz` damages files.

This file makes `tests` a package, so that no library's folder of that name is taken for it.
"""
