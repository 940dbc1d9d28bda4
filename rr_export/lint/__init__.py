"""What is wrong with the randomness of any ONNX file."""
