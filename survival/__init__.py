"""The survival matrix: which ONNX tools leave an exported file the same model, and who says so where they do not."""
