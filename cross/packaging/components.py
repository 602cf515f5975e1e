#!/usr/bin/env python3
"""What is in a facelatch binary: crates, SQLite, Rust's library, networks. For the package's copyright and its bill of materials.

    cross/packaging/components.py TARGET copyright    Debian's machine-readable copyright file (DEP-5)
    cross/packaging/components.py TARGET licences     the crates' licence files, word for word, each once
    cross/packaging/components.py TARGET sbom         a software bill of materials, CycloneDX 1.6, JSON
    cross/packaging/components.py TARGET check        nothing; exits with 1 where deny.toml lets a licence or a source not in

TARGET is a Rust target, as aarch64-unknown-linux-gnu. Needs the crates' sources, as any build leaves them. The output depends on
Cargo.lock, the crates and SOURCE_DATE_EPOCH (seconds; 0 without it) alone. Exits with 1 where a crate's licence is unknown.
"""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|unlicense|copyright)([-_.].*)?$", re.IGNORECASE)
# A licence text is a page or ten; a crate has a handful.
MAX_LICENCE_BYTES = 256 * 1024
MAX_LICENCE_FILES = 16
LLVM = "Apache-2.0 WITH LLVM-exception"


def cargo_metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def shipped(metadata):
    """The packages whose code may be in the binary, and what each needs: not what only builds or tests it."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    needs, waiting = {}, [metadata["resolve"]["root"]]
    while waiting:
        name = waiting.pop()
        if name in needs:
            continue
        needs[name] = [dep["pkg"] for dep in nodes[name]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        waiting += needs[name]
    return {name: packages[name] for name in needs}, needs


def expression(package):
    """SPDX. Crates from before SPDX wrote a slash for OR."""
    licence = package["license"]
    if not licence:
        sys.exit(f"components.py: {package['name']} {package['version']} states no licence")
    return re.sub(r"\s*/\s*", " OR ", licence)


def is_allowed(spdx, allowed):
    """Whether an SPDX expression without nesting but (A OR B) AND C can be kept with the licences that are allowed."""
    wants = re.split(r"\s+AND\s+(?![^(]*\))", spdx)
    return all(any(one in allowed for one in re.split(r"\s+OR\s+", want.strip("() "))) for want in wants)


def check(packages):
    """What `cargo deny check licenses sources` looks at, without having to compile cargo-deny: for CI."""
    allowed = set(tomllib.loads((ROOT / ".cargo" / "deny.toml").read_text())["licenses"]["allow"])
    wrong = []
    for package in packages.values():
        name = f"{package['name']} {package['version']}"
        if not is_allowed(expression(package), allowed):
            wrong.append(f"{name}: {expression(package)} is not among deny.toml's licences")
        if package["source"] not in (None, "registry+https://github.com/rust-lang/crates.io-index"):
            wrong.append(f"{name} comes from {package['source']}")
    wrong += [f"{name}: {licence} is not among deny.toml's licences"
              for name, _, _, licence in networks() if not is_allowed(licence, allowed)]
    if wrong:
        sys.exit("\n".join(wrong))


def licence_files(package):
    folder = Path(package["manifest_path"]).parent
    found = sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILE.match(path.name))
    return [path for path in found if path.stat().st_size <= MAX_LICENCE_BYTES][:MAX_LICENCE_FILES]


def holders(package):
    """Those whom the licence files name, else the authors that the crate states."""
    lines = {}
    for path in licence_files(package):
        for line in path.read_text(errors="replace").splitlines():
            line = " ".join(line.split()).strip("/*# ")
            if re.match(r"copyright\b.*(\d{4}|\(c\)|©)", line, re.IGNORECASE) and len(line) < 200:
                lines[re.sub(r"^copyright\s*(\(c\)|©)?:?\s*", "", line, flags=re.IGNORECASE)] = None
    return list(lines) or package["authors"] or [f"the authors of {package['name']}"]


def sqlite_version(packages):
    [sys_crate] = [package for package in packages.values() if package["name"] == "libsqlite3-sys"]
    header = Path(sys_crate["manifest_path"]).parent / "sqlite3" / "sqlite3.h"
    return re.search(r'#define SQLITE_VERSION\s+"([\d.]+)"', header.read_text())[1]


def rust_release():
    verbose = subprocess.run(["rustc", "-vV"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return re.search(r"^release: (\S+)", verbose, re.MULTILINE)[1]


def zig_version():
    """Of zig come libunwind and the compiler's own functions, where its linker linked (cross/requirements.txt)."""
    return re.search(r"^ziglang==(\S+)", (ROOT / "cross/requirements.txt").read_text(), re.MULTILINE)[1]


def networks():
    """The networks that are built in: those of the manifest whose files lie beside it, checked, and the pair head."""
    found = []
    for model in tomllib.loads((ROOT / "models/manifest.toml").read_text())["model"]:
        path = ROOT / "models" / model["file"]
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest != model["sha256"]:
                sys.exit(f"components.py: {path} is not the file that models/manifest.toml names")
            found.append((model["name"], model["file"], digest, model["licence"]))
    head = ROOT / "models/pair-head.toml"
    return found + [("facelatch-pair-head", head.name, hashlib.sha256(head.read_bytes()).hexdigest(), "Apache-2.0")]


def others(packages):
    """Parts that Cargo doesn't know: name, version, SPDX, holder, where it is from."""
    return [
        ("sqlite", sqlite_version(packages), "blessing", "its authors, who put it into the public domain", "libsqlite3-sys"),
        ("rust-std", rust_release(), "MIT OR Apache-2.0", "The Rust Project contributors", "the Rust compiler"),
        ("llvm-libunwind", f"zig-{zig_version()}", LLVM, "the LLVM project's contributors", "zig, which links the binary"),
        ("compiler-rt", f"zig-{zig_version()}", "MIT", "the Zig contributors", "zig, which links the binary"),
    ]


def dep5(spdx):
    """An SPDX expression as DEP-5 writes it: `or`, and `, and` after an alternative."""
    text = spdx.replace(LLVM, "Apache-2.0-with-LLVM-exception").replace("(", "").replace(" OR ", " or ")
    return text.replace(") AND ", ", and ").replace(" AND ", " and ").replace(")", "")


COMMON = "/usr/share/common-licenses"
FULL_TEXT = "The full texts, as each crate ships them, are in /usr/share/doc/facelatch/licences.txt.gz."
STANZAS = {
    "Apache-2.0": f"On Debian systems the text is in {COMMON}/Apache-2.0.",
    "Apache-2.0-with-LLVM-exception": f"On Debian systems the text is in {COMMON}/Apache-2.0.\n"
    "As an exception, if, as a result of your compiling your source code, portions of this Software are embedded into an Object "
    "form of such source code, you may redistribute such embedded portions in such Object form without complying with the "
    "conditions of Sections 4(a), 4(b) and 4(d) of the License.",
    "MIT": FULL_TEXT + """
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following conditions:
.
The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.""",
    "blessing": "The author disclaims copyright to this source code. In place of a legal notice, here is a blessing:\n"
    "May you do good and not evil. May you find forgiveness for yourself and forgive others.\n"
    "May you share freely, never taking more than you give.",
}


def paragraph(files, copyright_lines, licence):
    return "\n".join([f"Files: {files}", "Copyright: " + "\n ".join(copyright_lines), f"License: {licence}", ""])


def copyright_text(packages):
    own = next(package for package in packages.values() if package["source"] is None)
    parts = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: facelatch\n"
        "Comment: The binary has parts of every crate, library and network that is named below; what lies in crates/ and parts/\n"
        " here is theirs, and not a file of this package.\n",
        paragraph("*", ["the facelatch contributors"], dep5(expression(own))),
    ]
    names = {"Apache-2.0"}
    rows = [(f"models/{file}", ["the facelatch contributors"], licence) for _, file, _, licence in networks()]
    rows += [(f"parts/{name}-{version}/*", [holder], spdx) for name, version, spdx, holder, _ in others(packages)]
    rows += [(f"crates/{package['name']}-{package['version']}/*", holders(package), expression(package))
             for package in sorted(packages.values(), key=lambda package: (package["name"], package["version"]))
             if package["source"]]
    for files, lines, spdx in rows:
        licence = dep5(spdx)
        names |= set(re.split(r",? and | or ", licence))
        parts.append(paragraph(files, lines, licence))
    for name in sorted(names):
        text = STANZAS.get(name, FULL_TEXT)
        parts.append(f"License: {name}\n " + text.replace("\n", "\n ") + "\n")
    return "\n".join(parts)


def licences_text(packages):
    """Each text once, under the names of all the crates that ship it."""
    texts = {}
    for package in sorted(packages.values(), key=lambda package: (package["name"], package["version"])):
        if package["source"]:
            for path in licence_files(package):
                text = path.read_text(errors="replace").strip("\n")
                texts.setdefault(text, []).append(f"{package['name']} {package['version']}: {path.name}")
    rule = "=" * 100
    return "\n\n".join(f"{rule}\n" + "\n".join(owners) + f"\n{rule}\n\n{text}" for text, owners in texts.items()) + "\n"


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(kind, ref, name, version, spdx, sha256=None, **more):
    licences = [{"expression": spdx}] if " " in spdx else [{"license": {"id": spdx}}]
    hashes = {"hashes": [{"alg": "SHA-256", "content": sha256}]} if sha256 else {}
    return {"type": kind, "bom-ref": ref, "name": name, "version": version, "licenses": licences} | hashes | more


def sbom(packages, needs, target):
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    own_id = next(name for name, package in packages.items() if package["source"] is None)
    own = packages[own_id]
    parts = [component("library", purl(package), package["name"], package["version"], expression(package),
                       checksums[package["name"], package["version"]], purl=purl(package))
             for name, package in packages.items() if name != own_id]
    parts += [component("library", f"part:{name}", name, version, spdx, description=f"comes with {source}")
              for name, version, spdx, _, source in others(packages)]
    parts += [component("machine-learning-model", f"model:{name}", name, sha256[:12], licence, sha256, description=file)
              for name, file, sha256, licence in networks()]
    parts.sort(key=lambda part: part["bom-ref"])
    graph = [{"ref": purl(packages[name]), "dependsOn": sorted({purl(packages[dep]) for dep in deps})}
             for name, deps in sorted(needs.items()) if name != own_id]
    unknown_to_cargo = [part["bom-ref"] for part in parts if not part["bom-ref"].startswith("pkg:")]
    graph.append({"ref": purl(own), "dependsOn": sorted({purl(packages[dep]) for dep in needs[own_id]} | set(unknown_to_cargo))})
    epoch = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.UTC)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": epoch.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component("application", purl(own), own["name"], own["version"], expression(own),
                                   description=own["description"]),
            "properties": [{"name": "facelatch:target", "value": target}],
        },
        "components": parts,
        "dependencies": graph,
    }
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
    return json.dumps(bom, indent=1, sort_keys=True) + "\n"


def main():
    makers = {"copyright": copyright_text, "licences": licences_text, "sbom": sbom, "check": check}
    if len(sys.argv) != 3 or sys.argv[2] not in makers:
        sys.exit(__doc__)
    target, what = sys.argv[1:]
    packages, needs = shipped(cargo_metadata(target))
    made = sbom(packages, needs, target) if what == "sbom" else makers[what](packages)
    print(made or "", end="")


if __name__ == "__main__":
    main()
