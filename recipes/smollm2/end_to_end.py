"""From a trained folder to a client's answer: export, calibrate, serve, ask. Each step is a command of COREA's."""

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

from corea.errors import CoreaError
from recipes.smollm2.questions import EasyMaths

HERE = Path(__file__).parent
CLIENTS = 6  # test questions that a client asks
CONFIG = """[cascade]
name = "corea"
stages = ["small", "large"]

[stages.small]
prompt = "{prompt}"
signal = "expected"
threshold = 0.5

[stages.small.backend]
kind = "onnx"
folder = "embedded"
model = "smollm2-135m"

[stages.small.sampling]
max_tokens = 64
temperature = 0.0

[stages.large]
prompt = "answer_only"

[stages.large.backend]
kind = "recipes.smollm2.scripted_large:ScriptedLarge"

[stages.large.sampling]
max_tokens = 64

[prices."smollm2-135m"]      # assumed: in proportion to parameters, 135M and 7B
input_usd_per_mtok = "0.002"
output_usd_per_mtok = "0.004"

[prices."scripted-large"]
input_usd_per_mtok = "0.10"
output_usd_per_mtok = "0.20"
"""


def end_to_end(folder: Path, out: Path, *, n: int, max_drop: float, precision: str) -> None:
    """Exports `folder`, calibrates it with the scripted large stage, serves both and asks; prints what each step said.

    Args:
        n: Questions to calibrate on: of split validation, none of those by which the checkpoint was chosen.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "corea.toml").write_text(CONFIG.format(prompt=HERE / "prompt.txt"))
    chosen_by = {question.text for question in EasyMaths(n=192, seed=2027).load("validation")}
    labelled = [q for q in EasyMaths(n=900, seed=2031).load("validation") if q.text not in chosen_by][:n]
    write_questions(labelled, out / "labelled.jsonl")
    step(out, "export", str(folder.resolve()), "embedded", "--precision", precision, "--questions", "labelled.jsonl",
         "--check", "100", "--max-tokens", "64", "--allow-difference")  # fmt: skip
    step(out, "calibrate", "--questions", "labelled.jsonl", "--max-drop", str(max_drop), "--out", "calibration.json")
    serve_and_ask(out)


def write_questions(questions: list, path: Path) -> None:  # type: ignore[type-arg]
    """Questions with their references, as `corea` reads them."""
    rows = ({"id": q.id, "question": q.text, "reference": q.reference, "grader": "number"} for q in questions)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def step(folder: Path, *words: str) -> None:
    """One command in this folder, with what it says."""
    print(f"$ corea {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "corea.cli.main", *words], cwd=folder, env=environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    print(done.stdout, flush=True)
    if done.returncode:
        raise CoreaError(f"end-to-end: `corea {words[0]}` ended with {done.returncode}; see above")


def environment() -> dict[str, str]:
    """This process's environment, which also finds the recipes."""
    path = os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def serve_and_ask(folder: Path) -> None:
    """`corea serve` on a free port, and the questions of a client that knows nothing of COREA."""
    words = ["serve", "--calibration", "calibration.json", "--port", "0"]
    print(f"$ corea {shlex.join(words)}", flush=True)
    command = [sys.executable, "-m", "corea.cli.main", *words]
    server = subprocess.Popen(command, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)  # fmt: skip
    try:
        assert server.stdout is not None
        url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
        for question in EasyMaths(n=CLIENTS, seed=2028).load("test"):
            print(ask(url.rstrip("/."), question.text), f"(right: {question.reference})", flush=True)
    finally:
        server.terminate()
        server.wait(30)


def ask(url: str, text: str) -> str:
    """A question in OpenAI's format, its answer, and who gave it."""
    body = json.dumps({"model": "corea", "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        headers, answer = response.headers, json.load(response)
    told = {name: headers[name] for name in ("x-corea-stage", "x-corea-saved-usd") if name in headers}
    return f"{text}  ->  {answer['choices'][0]['message']['content']!r} {told}"
