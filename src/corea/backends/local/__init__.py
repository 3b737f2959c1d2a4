"""Models in this process: onnx and transformers, generation (batched decoding), worker (its thread), fingerprint."""
