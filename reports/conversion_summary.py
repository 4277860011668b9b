"""What a conversion wrote, as lines for the terminal."""

from __future__ import annotations

from dataclasses import replace

from preprocessing.conversion.manifest import MANIFEST, Manifest, add_counts, left_out_shapes
from schema.errors import counted


def conversion_summary(manifest: Manifest) -> list[str]:
    """The shapes, splits and parts of each category, and what was not converted."""
    lines = []
    for total in add_counts(replace(count, split="") for count in manifest.counts):
        counts = (count for count in manifest.counts if count.category == total.category)
        splits = ", ".join(f"{count.shapes:,} {count.split}" for count in counts)
        points = {**total.parts, "unannotated": total.unannotated}
        number = sum(points.values())
        shares = ", ".join(f"{part} {points[part] / number:.1%}" for part in points)
        shapes = counted(total.shapes, "shape")
        lines.append(f"{total.category} {splits}; {shapes}, {number:,} points ({shares})")
    if left_out := left_out_shapes(manifest.findings):
        lines.append(f"left out: {counted(len(left_out), 'shape')}, listed in {MANIFEST}")
    if manifest.not_converted:
        lines.append(f"not converted: {', '.join(manifest.not_converted)} (--category all)")
    return lines
