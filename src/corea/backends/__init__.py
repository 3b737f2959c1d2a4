"""Backends answer questions: openai (a server), local (models in this process), replay (recorded answers), fake.

One of another package needs no line here: name it "package.module:Class".
"""

BACKENDS = {
    "openai": "corea.backends.openai.client:OpenAIBackend",
    "onnx": "corea.backends.local.onnx:OnnxBackend",
    "hf": "corea.backends.local.transformers:HFBackend",
    "replay": "corea.backends.replay:ReplayBackend",
    "fake": "corea.backends.fake:FakeBackend",
}
