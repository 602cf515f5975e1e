"""A copy of the installed onnxruntime that doesn't use AVX-512: `python older_cpu.py FOLDER avx-vnni|avx2`.

    python benches/older_cpu.py old avx2
    PYTHONPATH=old FACELATCH_KERNELS=avx2 python benches/peers.py

A CPU that has AVX-512 then shows what onnxruntime does on one that hasn't. onnxruntime has no switch for it, so its questions to the CPU
are changed in the copy: which registers the system saves (xgetbv) is always answered with those of AVX, and for `avx2` the
bit for AVX-VNNI is not looked at. On x86-64; exits with 1 where the questions aren't found as often as expected.
"""

import argparse
import shutil
import sys
from pathlib import Path

import onnxruntime

# xor ecx, ecx; xgetbv → push 7; pop rax, in onnxruntime itself, its kernels and its CPU library.
SAVED = (bytes.fromhex("31c90f01d0"), bytes.fromhex("31c96a0758"), 3)
# cpuid; test al, 0x10; je → test al, 0.
VNNI = (bytes.fromhex("0fa2a81074"), bytes.fromhex("0fa2a80074"), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cpu", choices=["avx-vnni", "avx2"])
    args = parser.parse_args()
    copy = args.folder / "onnxruntime"
    shutil.copytree(Path(onnxruntime.__file__).parent, copy, dirs_exist_ok=True)
    library = next((copy / "capi").glob("onnxruntime_pybind11_state*.so"))
    code = library.read_bytes()
    for old, new, times in [SAVED] + [VNNI] * (args.cpu == "avx2"):
        if code.count(old) != times:
            sys.exit(f"older_cpu.py: {code.count(old)} places in {library} and not {times}: another version?")
        code = code.replace(old, new)
    library.write_bytes(code)


if __name__ == "__main__":
    main()
