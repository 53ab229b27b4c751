"""Losses, the gradient of a batch, the training loop, and several processes."""
