"""Fingerprint of a model folder: a model that was trained again under its old name has another one."""

import hashlib
from pathlib import Path

ENDS = 1 << 20  # bytes read at each end of a large file
MODEL_FILES = (".onnx", ".data", ".safetensors", ".bin", ".json", ".jinja")
FACTS = ("training.json", "log.jsonl")  # about the training; they do not change the answers


def fingerprint(folder: Path) -> str | None:
    """The names and sizes of a model folder's files, with the first and last MiB of each, hashed; None without files.

    Gigabytes of weights are distinguished in milliseconds, since training changes every part of them.
    """
    made, seen = hashlib.sha256(), False
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.suffix not in MODEL_FILES or file.name in FACTS:
            continue
        size = file.stat().st_size
        made.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as data:
            made.update(data.read(ENDS))
            if size > ENDS:
                data.seek(max(ENDS, size - ENDS))
                made.update(data.read(ENDS))
        seen = True
    return f"sha256:{made.hexdigest()[:16]}" if seen else None
