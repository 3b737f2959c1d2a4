"""A confidence-calibrated SmolLM2-135M-Instruct: questions, base model and measurements of `recipes/smollm2`."""
