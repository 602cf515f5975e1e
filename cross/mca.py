#!/usr/bin/env python3
"""How fast the eight-bit kernels are on ARM cores that are not here, as llvm-mca models them.

Compiles the kernels for aarch64 with the flags of a release, as one unit, finds each kernel's innermost loop in the
assembler, and lets llvm-mca count its cycles: products (MAC) an instruction, and a cycle. A model, not a measurement: caches
and memory are not in it. LLVM knows Cortex-A72 and A76 by its tables of A57, which begins three instructions a cycle;
Neoverse N1 is the core of A76 with tables of its own. What a depthwise block hands over to be rounded is counted in.

Needs the Rust target aarch64-unknown-linux-gnu and llvm-mca (Debian: llvm); says SKIPPED where they are missing. Exits
with 1 if a loop is below its bar, or isn't found.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "aarch64-unknown-linux-gnu"
# Products of an instruction on whole registers.
MACS = {"sdot": 16, "udot": 16, "usdot": 16, "smmla": 32, "usmmla": 32}
MACS |= {name: 8 for name in ("smull", "smull2", "smlal", "smlal2")}
ITERATIONS = 1000


@dataclass
class Kernel:
    """A loop to look for: it has all of `with_`, and none of `without`. `is_loop` is false for what is unrolled."""

    name: str
    with_: tuple
    without: tuple
    cpus: tuple
    # MAC a cycle on the first of the CPUs: what it must reach, and what its pipes allow.
    bar: float = 0.0
    most: float = 0.0
    is_loop: bool = True
    # Of the products, those that aren't with a zero for filling up.
    useful: float = 1.0


KERNELS = [
    Kernel("dense, neon", ("smull", "smlal2", "sadalp"), ("sdot",), ("cortex-a72", "cortex-a53"), 7.0, 8.0),
    Kernel("dense, neon-dotprod", ("sdot",), ("smull",), ("cortex-a76", "neoverse-n1", "cortex-a55"), 24.0, 32.0),
    Kernel("dense, neon-i8mm", ("usmmla",), ("sdot",), ("neoverse-n2", "cortex-a510")),
    Kernel("depthwise 3 x 3, neon", ("smull", "smlal", "saddw"), (), ("cortex-a72", "cortex-a53"), 4.0, is_loop=False),
    Kernel("depthwise 3 x 3, dotprod", ("sdot", "zip1"), (), ("cortex-a76", "neoverse-n1"), 4.0, is_loop=False,
           useful=0.75),
]


def skip(why):
    print(f"SKIPPED: {why}, so the ARM kernels' loops were not looked at", file=sys.stderr)
    sys.exit(0)


def find_mca():
    """The newest, as it knows most cores, or that of the environment's LLVM_MCA."""
    names = [os.environ.get("LLVM_MCA", "")] + [f"llvm-mca-{version}" for version in range(30, 13, -1)] + ["llvm-mca"]
    return next(filter(None, map(shutil.which, names)), None) or skip("llvm-mca is missing")


def assembler():
    """The kernels alone, as a crate: the whole of the program takes minutes to compile. Symbols are theirs."""
    crate = ROOT / "target" / "mca"
    (crate / "src").mkdir(parents=True, exist_ok=True)
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    release = manifest["profile"]["release"]
    (crate / "Cargo.toml").write_text(f"""[package]
name = "kernels"
version = "0.0.0"
edition = "{manifest["package"]["edition"]}"

[dependencies]
thiserror = "{manifest["dependencies"]["thiserror"]}"

[profile.release]
opt-level = {release["opt-level"]}
overflow-checks = {str(release["overflow-checks"]).lower()}

[workspace]
""")
    modules = "".join(f'#[path = "{ROOT}/src/{file}"]\npub mod {room};\n'
                      for room, file in (("frame", "frame.rs"), ("kernels", "kernels/mod.rs"), ("time", "time.rs")))
    (crate / "src" / "lib.rs").write_text("#![allow(dead_code)]\n" + modules)
    shutil.copy(ROOT / "Cargo.lock", crate / "Cargo.lock")
    found = subprocess.run(["rustc", "--print", "target-libdir", "--target", TARGET], capture_output=True, text=True)
    if found.returncode or not any(Path(found.stdout.strip()).glob("libcore-*.rlib")):
        skip(f"Rust has no standard library for {TARGET}")
    for old in (crate / "target" / TARGET / "release" / "deps").glob("kernels-*.s"):
        old.unlink()
    command = ["cargo", "rustc", "--quiet", "--release", "--lib", "--target", TARGET, "--target-dir", crate / "target"]
    subprocess.run([*command, "--", "--emit", "asm", "-C", "codegen-units=1"], cwd=crate, check=True)
    [text] = (crate / "target" / TARGET / "release" / "deps").glob("kernels-*.s")
    return text.read_text()


def blocks(text):
    """Instructions without a jump between them, and whether they are a loop: end with one to their own start."""
    symbol, label, block = "", "", []
    for line in text.splitlines():
        line = line.strip()
        if name := re.match(r"([\w.$]+):", line):
            # What only the debugger looks at is no place to jump to.
            if name[1].startswith((".Ltmp", ".Lfunc")):
                continue
            yield symbol, block, False
            label, block = name[1], []
            symbol = symbol if label.startswith(".L") else label
        elif line and line[0] not in "./#":
            if not re.match(r"(b|bl|br|blr|ret|b\.\w+|cbn?z|tbn?z)\b", line):
                block.append(line)
                continue
            is_loop = line.split()[-1] == label
            # What a call costs is no matter of the block before it.
            yield symbol, block + [line] * is_loop, is_loop
            block = []


def find(kernel, found):
    """Of the blocks that fit, the one with the most products: that of the largest tile."""
    fits = []
    for symbol, block, is_loop in found:
        names = [line.split()[0] for line in block]
        if "q8" in symbol and is_loop >= kernel.is_loop and set(kernel.with_) <= set(names) \
                and not set(kernel.without) & set(names):
            fits.append((round(kernel.useful * sum(MACS.get(name, 0) for name in names)), block))
    return max(fits, key=lambda fit: fit[0], default=(0, []))


def cycles(mca, cpu, block):
    command = [mca, f"-mtriple={TARGET}", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(block), capture_output=True, text=True, check=True)
    return int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / ITERATIONS


def main():
    mca = find_mca()
    found = list(blocks(assembler()))
    print(re.search(r"LLVM version \S+", subprocess.run([mca, "--version"], capture_output=True, text=True).stdout)[0])
    print(f"{'kernel':26}{'core':14}{'instructions':>13}{'MAC':>6}{'an instr.':>10}{'a cycle':>9}{'bar':>6}{'most':>6}")
    is_well = True
    for kernel in KERNELS:
        macs, block = find(kernel, found)
        if not macs:
            print(f"{kernel.name:26}no loop with {' and '.join(kernel.with_)}")
            is_well = False
            continue
        for nth, cpu in enumerate(kernel.cpus):
            bar, most = (kernel.bar, kernel.most) if nth == 0 else (0.0, 0.0)
            speed = macs / cycles(mca, cpu, block)
            is_well &= speed >= bar
            bars = "".join(f"{number:6.0f}" if number else f"{'':6}" for number in (bar, most))
            print(f"{kernel.name:26}{cpu:14}{len(block):13}{macs:6}{macs / len(block):10.1f}{speed:9.2f}{bars}"
                  + ("" if speed >= bar else "  TOO SLOW"))
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
