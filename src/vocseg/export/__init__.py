"""Export trained networks to ONNX and OpenVINO: one graph from images to masks."""
