"""`vits-joe`, the Piper voice "joe": in torch (`network`), and on ONNX Runtime (`stages`), without torch."""
