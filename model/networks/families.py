"""The families of networks that a config can name; it loads without Keras."""

from __future__ import annotations

from model.networks.pointnet.settings import PointNetSettings

# The config's section `network`. A second family makes it a union, told apart by `family`.
NetworkSettings = PointNetSettings
