#!/usr/bin/env bash
# Step time, share of the peak, and memory of CLIP training on this machine's GPU; on its CPU where there is none.
#   benchmarks/gpu.sh                      writes benchmarks/results/gpu.json and prints its table
#   PYTHON=python3 benchmarks/gpu.sh --output /tmp/gpu.json
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
[ -x "$(command -v "$python")" ] || python=python3
exec "$python" -m benchmarks.gpu_steps "$@"
