#!/bin/bash
# All GPU checks, each in a process of its own: bash experiments/gpu/run.sh RESULTS   (one GPU of 80 GB, 10 minutes at most)
out=$1 work=$(mktemp -d)
mkdir -p "$out"
if [ "$(df --output=avail -k /dev/shm | tail -1)" -gt 50000000 ]; then work=$(mktemp -d -p /dev/shm); fi # memory beats a slow disk
export PYTHONUNBUFFERED=1 TRL_EXPERIMENTAL_SILENCE=1 HF_HUB_OFFLINE=1 OMP_NUM_THREADS=8 TOKENIZERS_PARALLELISM=false
part() { # name, seconds, command
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  timeout "$limit" "$@" >"$work/$name.log" 2>&1
  echo "$name: status $?, $((SECONDS - start)) s" | tee -a "$out/parts.txt"
  tail -c 1500 "$work/$name.log"
  (echo "== $name"; tail -c 20000 "$work/$name.log") >>"$out/logs.txt"
}
(nvidia-smi; python3 -V; python3 -m pip list 2>/dev/null | grep -i -E "^(torch|transformers|trl|peft|accelerate|datasets) ") >"$out/machine.txt" 2>&1
part lora 190 python3 experiments/gpu/backbone.py configs/train/qwen2.5-7b-lora.toml "$out/qwen2.5-7b-lora.json" --folder "$work/7b"
rm -rf "$work/7b/run"
part small 100 python3 -m recipes.bundled_pair rlcc recipes/bundled_pair/configs/rlcc.toml --model experiments/pair/weights/slm_cold \
  --out "$work/small" --set questions_per_step=256 --set device_batch=1024 --set steps=20 --set evaluate_every=20 \
  --set trl.use_cpu=false --set trl.bf16=true --set trl.disable_tqdm=true
cp "$work/small/log.jsonl" "$out/small.jsonl"
part stock 100 bash -c "python3 bench/train.py --device cuda --questions 128 --rounds 2 --steps 4 --json >$out/stock.json"
part lora-long 100 python3 experiments/gpu/backbone.py configs/train/qwen2.5-7b-lora.toml "$out/qwen2.5-7b-lora-long.json" --folder "$work/7b" --long
rm -rf "$work/7b"
part full-long 80 python3 experiments/gpu/backbone.py configs/train/qwen2.5-1.5b.toml "$out/qwen2.5-1.5b-long.json" --folder "$work/1.5b" --long
rm -rf "$work"
