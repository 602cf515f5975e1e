"""LFW as the camera of another door would have taken it: `python3 tests/variants.py LFW OUT KIND`.

The same folders and names in OUT, for `facelatch eval pairs.txt --images OUT`. KIND is one of

    grey   luminance alone (ITU-R BT.601), as an infrared camera gives
    dark   an eighth of the light, then the noise of a small sensor (deviation 4 of 255)
    side   light from the left: full there, a tenth of it on the right
    small  seen by a camera for which the whole picture has 80 pixels a side
"""

import argparse
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = 80  # pixels a side: LFW's faces then have some 20 between the eyes


def changed(pixels: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """H x W x 3 bytes to the same."""
    x = pixels.astype(np.float32)
    match kind:
        case "grey":
            x[:] = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        case "dark":
            x = x / 8 + np.random.default_rng(seed).normal(0, 4, x.shape)
        case "side":
            x *= np.linspace(1, 0.1, x.shape[1], dtype=np.float32)[None, :, None]
        case "small":
            image = Image.fromarray(pixels)
            x = np.asarray(image.resize((SMALL, SMALL), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC))
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def seed_of(name: str) -> int:
    """Of a picture's noise: of all of its file's name, so that each picture has noise of its own, and the same every time.

    Two pictures of a person that shared their noise would be more alike for it.
    """
    return zlib.crc32(Path(name).name.encode())


def write(path: Path, root: Path, out: Path, kind: str) -> None:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    to = out / path.relative_to(root).with_suffix(".png")
    to.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(changed(pixels, kind, seed_of(path.name))).save(to, compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("kind", choices=["grey", "dark", "side", "small"])
    args = parser.parse_args()
    paths = sorted(args.images.glob("*/*.jpg"))
    with ProcessPoolExecutor() as pool:
        done = pool.map(partial(write, root=args.images, out=args.out, kind=args.kind), paths, chunksize=64)
        print(f"{len(list(done))} pictures")


if __name__ == "__main__":
    main()
