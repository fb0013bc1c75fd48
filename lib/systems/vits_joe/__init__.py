"""`vits-joe`, a Piper voice: in torch (`network`) and on ONNX Runtime (`stages`, which starts without torch)."""
