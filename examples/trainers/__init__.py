"""One model trained for its routes in three loops: plain PyTorch, Hugging Face's Trainer, Lightning."""
