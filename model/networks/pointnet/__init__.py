"""PointNet (Qi et al., https://arxiv.org/abs/1612.00593)."""
