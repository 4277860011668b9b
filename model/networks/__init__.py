"""Networks: logits of each point's part from a cloud's points; one package a family."""
