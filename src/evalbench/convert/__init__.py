"""`evalbench convert RUN --to FORMAT`: a saved network as files that other programs load."""

FORMATS = ("peft", "safetensors", "onnx", "torch-export")
"""The values of `--to`; `conversion.WRITERS` writes them."""
