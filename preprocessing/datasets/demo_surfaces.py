"""Pieces of surface that made-up shapes consist of.

All vectors are x (forward), y (up), z (to the side).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Rng = np.random.Generator
Vector = tuple[float, float, float] | np.ndarray


class Surface(NamedTuple):
    """Surface of one part.

    `at` gives points on it, [n, 3], for two arrays [n, 1] of numbers in [0, 1). They are uniform in
    area if the numbers are uniform.
    """

    part: str
    area: float
    at: Callable[[np.ndarray, np.ndarray], np.ndarray]


def plate(
    part: str, corner: Vector, along: Vector, across: Vector, thickness: Vector, taper: float = 1.0
) -> list[Surface]:
    """Both faces of a flat piece whose side `across` shrinks to `taper` times that at its end."""
    area = float(np.linalg.norm(np.cross(along, across))) * (1 + taper) / 2

    def face(corner: Vector, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        s = _linear_density(s, 1.0, taper)
        return np.add(corner, s * along) + t * (1 + s * (taper - 1)) * across

    corners = (corner, np.add(corner, thickness))
    return [Surface(part, area, functools.partial(face, corner)) for corner in corners]


def box(part: str, centre: Vector, size: Vector) -> list[Surface]:
    """The six faces of an upright box."""
    low = np.subtract(centre, np.divide(size, 2))
    x, y, z = np.diag(size)
    return plate(part, low, x, y, z) + plate(part, low, y, z, x) + plate(part, low, x, z, y)


def tube(part: str, start: Vector, end: Vector, radius: float, end_radius: float) -> list[Surface]:
    """The side of a cylinder or cone."""
    axis = np.subtract(end, start)
    length = float(np.linalg.norm(axis))
    u = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    u /= np.linalg.norm(u)
    v = np.cross(axis / length, u)

    def at(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        s, angle = _linear_density(s, radius, end_radius), t * 2 * np.pi
        around = np.cos(angle) * u + np.sin(angle) * v
        return start + s * axis + (radius + s * (end_radius - radius)) * around

    slant = float(np.hypot(length, radius - end_radius))
    return [Surface(part, np.pi * (radius + end_radius) * slant, at)]


def disc(part: str, centre: Vector, radius: float) -> list[Surface]:
    """A level disc."""

    def at(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        r, angle = radius * np.sqrt(s), t * 2 * np.pi
        return np.add(centre, np.hstack([r * np.cos(angle), 0 * r, r * np.sin(angle)]))

    return [Surface(part, np.pi * radius**2, at)]


def cylinder(part: str, foot: Vector, height: float, radius: float, top: float) -> list[Surface]:
    """An upright cylinder or cone with its two lids."""
    head = np.add(foot, (0, height, 0))
    return tube(part, foot, head, radius, top) + disc(part, foot, radius) + disc(part, head, top)


def arc(
    part: str, centre: Vector, width: float, height: float, thickness: float, turn: float
) -> list[Surface]:
    """Half of an upright elliptic ring, bulging along x, then turned about the y axis."""
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])

    def at(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        angle, roll = -np.pi / 2 + s * np.pi, t * 2 * np.pi
        x, y = np.cos(angle), np.sin(angle)
        tube = np.hstack([np.cos(roll) * x, np.cos(roll) * y, np.sin(roll)])
        return (
            np.add(centre, np.hstack([x * width, y * height, 0 * x])) + thickness * tube
        ) @ turned

    return [Surface(part, np.pi * (width + height) / 2 * 2 * np.pi * thickness, at)]


def _linear_density(s: np.ndarray, start: float, end: float) -> np.ndarray:
    """Uniform numbers in [0, 1) with a density that changes linearly from `start` to `end`."""
    if abs(end - start) < 1e-9:
        return s
    return (np.sqrt(start**2 + s * (end**2 - start**2)) - start) / (end - start)
