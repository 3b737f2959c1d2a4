#!/bin/sh
# The shipped form of the pair: package.sh SLM_HALF LLM_HALF. Run from the repository's root, after evaluate.py and card.py.
set -e
for name in slm llm; do
  test "$name" = slm && from="$1" || from="$2"
  corea export "$from" "src/corea/models/$name" --precision float16 --check 200
done
cp recipes/bundled_pair/configs/corea.toml src/corea/models/corea.toml
