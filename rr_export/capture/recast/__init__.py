"""Functions of torch that are captured in another form than torch.export would give them."""
