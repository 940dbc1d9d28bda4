"""Models as people have them: folders of Hugging Face, names of timm, checkpoints -> a model with example arguments."""
