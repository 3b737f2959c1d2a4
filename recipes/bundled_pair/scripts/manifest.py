"""Writes the contents of the package to one file: manifest.py"""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "src" / "corea" / "models"

if __name__ == "__main__":
    models = {}
    for name in ("slm", "llm"):
        parameters = json.loads((FOLDER / name / "training.json").read_text())["parameters"]
        files = {f.name: f.stat().st_size for f in sorted((FOLDER / name).iterdir())}
        models[name] = {"parameters": parameters, "bytes": sum(files.values()), "files": files}
    manifest = {
        "config": "corea.toml",
        "models": models,
        "world": "recipes.bundled_pair.problems",
        "card": "README.md in each folder",
    }
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
