"""ViC-MAE in PyTorch: the network, its losses, its checkpoints. Knows `media.spec` only."""
