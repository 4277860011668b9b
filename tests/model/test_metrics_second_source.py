"""Our shape IoU against torchmetrics', the one that PyTorch Geometric's part segmentation uses.

Torch is in neither stack: install torch and torchmetrics beside NumPy and pytest to run it.
"""

import numpy as np
import pytest

from model import metrics

torch = pytest.importorskip("torch", reason="torch is not installed: no second source to ask")
classification = pytest.importorskip(
    "torchmetrics.functional.classification",
    reason="torchmetrics is not installed: no second source to ask",
)


@pytest.mark.parametrize("seed", range(500))
def test_shape_iou_and_accuracy(seed):
    rng = np.random.default_rng(seed)
    parts = int(rng.integers(2, 7))
    size = int(rng.integers(1, 300))
    # Few of the parts, so that some are absent from truth, answer or both.
    truth = rng.choice(rng.integers(0, parts, rng.integers(1, parts + 1)), size)
    guess = np.where(rng.random(size) < 0.7, truth, rng.choice(rng.integers(0, parts, 2), size))
    counts = metrics.confusion(truth, guess, parts)
    arguments = torch.from_numpy(guess), torch.from_numpy(truth)
    each = classification.multiclass_jaccard_index(*arguments, num_classes=parts, average="none")
    present = np.union1d(truth, guess)
    ours = metrics.part_ious(counts)
    np.testing.assert_allclose(ours[present], each.numpy()[present], rtol=1e-5)
    # torchmetrics gives an absent part 0, the published evaluation 1.
    filled = np.ones(parts)
    filled[present] = each.numpy()[present]
    assert metrics.shape_iou(counts) == pytest.approx(filled.mean(), rel=1e-5)
    accuracy = classification.multiclass_accuracy(*arguments, num_classes=parts, average="micro")
    assert metrics.point_accuracy(counts) == pytest.approx(float(accuracy), rel=1e-5)
