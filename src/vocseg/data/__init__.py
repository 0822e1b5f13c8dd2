"""Data: from files in VOC layout to batches of tensors."""
