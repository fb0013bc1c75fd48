"""ONNX graphs, whatever system they come from: cut, rewritten, run."""
