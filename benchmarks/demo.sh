#!/usr/bin/env bash
# The main job on synthetic data: make data, train, evaluate, score, predict, tabulate. Usage: demo.sh FOLDER
set -euo pipefail
here=$(dirname "$0")
out=${1:-demo}
rm -rf "$out"
mkdir -p "$out"

step() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

step "1. A data set in VOC layout"
run vocseg data synth "$out/data"

step "2. Train a baseline and a small U-Net"
run vocseg train --data "$out/data" --config synthetic --model simple_conv_net --epochs 2 --out "$out/runs/simple_conv_net"
run vocseg train --data "$out/data" --config synthetic --out "$out/runs/unet"

step "3. Evaluate, and score the saved masks again: the same figures"
for name in simple_conv_net unet; do
    for split in train val; do
        masks=()
        if [ "$name-$split" = unet-val ]; then masks=(--save-masks "$out/masks"); fi
        vocseg evaluate "$out/runs/$name/best.safetensors" --data "$out/data" --split "$split" "${masks[@]}" \
            --json "$out/runs/$name/scores_$split.json" >"$out/log.txt"
    done
done
cat "$out/log.txt"
run vocseg score "$out/masks" --data "$out/data"

step "4. Predict pictures"
run vocseg predict "$out"/data/JPEGImages/synth_00020[0-7].jpg --model "$out/runs/unet/best.safetensors" --out "$out/predictions"

step "5. Results"
python "$here/results_table.py" "$out/runs/simple_conv_net" "$out/runs/unet"
printf '\nmasks and overlays: %s   run folders: %s\n' "$out/predictions" "$out/runs"
