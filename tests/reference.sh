#!/usr/bin/env bash
# Every reference network as facelatch runs it against onnxruntime, on some 260 faces of LFW.
#
#     tests/reference.sh target/release/facelatch SHARED [PYTHON]
#
# SHARED holds models/ and data/lfw/; PYTHON has what tests/requirements.txt lists.
set -euo pipefail
facelatch=$1 shared=$2 python=${3:-python3}
here=$(dirname "$0")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Two folds of 40 pairs of each kind, out of the list's first two folds of 300.
pairs=$shared/data/lfw/pairs-dev.txt
{
    printf '2\t40\n'
    sed -n -e '2,41p' -e '302,341p' -e '602,641p' -e '902,941p' "$pairs"
} > "$scratch/pairs.txt"

# Names are looked up in one folder.
mkdir "$scratch/models"
find "$(realpath "$shared")/models" -name '*.onnx' -exec ln -s {} "$scratch/models/" \;

dumps=()
for networks in "yunet foamliu" "yunet mobileface-v2" "scrfd-500m w600k-mbf"; do
    read -r detector model <<< "$networks"
    "$facelatch" --models "$scratch/models" --detector "$detector" --model "$model" \
        eval "$scratch/pairs.txt" --images "$shared/data/lfw/images" --dump "$scratch/$detector-$model" > /dev/null
    dumps+=("$scratch/$detector-$model")
done
"$python" "$here/reference.py" "${dumps[@]}"
