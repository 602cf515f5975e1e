//! The house rules that the compiler doesn't keep: who may import whom, where `unsafe` lives, how long a file grows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A room, and the rooms that it may import. `use` of anything else is a door in the wrong wall.
const MAY_IMPORT: [(&str, &[&str]); 25] = [
    ("named", &[]),
    ("units", &[]),
    ("time", &[]),
    ("person", &[]),
    ("digest", &[]),
    ("draft", &[]),
    ("backoff", &["time"]),
    ("frame", &["time"]),
    ("kernels", &["frame"]),
    ("liveness", &["face", "frame", "gate", "infer", "kernels", "ports", "time"]),
    ("gate", &["person", "time", "units"]),
    ("infer", &["digest", "draft", "frame", "kernels"]),
    ("face", &["frame", "gate", "infer", "kernels", "units"]),
    ("gallery", &["digest", "draft", "face", "gate", "kernels", "person", "time", "units"]),
    ("eval", &["digest", "face", "frame", "gallery", "gate", "infer", "liveness", "person", "time", "units"]),
    ("ports", &["frame", "gallery", "gate", "person", "time"]),
    ("hw", &["backoff", "digest", "draft", "frame", "gallery", "gate", "person", "ports", "time", "units"]),
    ("sim", &["face", "frame", "gallery", "gate", "kernels", "liveness", "person", "ports", "time"]),
    ("config", &["face", "gallery", "frame", "gate", "hw", "infer", "liveness", "time"]),
    ("control", &["daemon", "draft", "gate", "hw", "person", "time", "units"]),
    (
        "daemon",
        &[
            "backoff", "control", "digest", "face", "frame", "gallery", "gate", "hw", "infer", "liveness", "person",
            "ports", "time", "units",
        ],
    ),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
    ("testing", &[]),
];

/// As rustfmt.toml has it, which doesn't see to comments.
const MAX_COLUMNS: usize = 120;

/// Of prose in Markdown; code, tables and headings may be wider.
const MAX_PROSE_COLUMNS: usize = 130;

const MAX_LINES: usize = 500;
const MAIN_MAX_LINES: usize = 60;

/// What a directory of this repository holds in Rust: each file's path from there, and its text.
fn sources(of: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(of);
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{of}/ holds sources");
    found
}

fn room(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The lines that aren't built for tests alone: without each item behind `#[cfg(test)]`, which ends, as rustfmt writes
/// it, with the first brace at its own depth, or semicolon.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let depth_of = |line: &str| line.len() - line.trim_start().len();
    let mut test = None;
    text.lines().filter(move |line| {
        let Some(depth) = test else {
            test = (line.trim_start() == "#[cfg(test)]").then(|| depth_of(line));
            return test.is_none();
        };
        let ends = line.trim_start().starts_with('}') || line.ends_with(';');
        if ends && depth_of(line) == depth {
            test = None;
        }
        false
    })
}

/// The rooms named behind `crate::`, tests left out: they may look anywhere.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for line in code(text).filter(|line| !line.trim_start().starts_with("//")) {
        for after in line.split("crate::").skip(1) {
            let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(name);
        }
    }
    rooms
}

fn is_test_file(path: &Path) -> bool {
    path.iter().any(|part| matches!(part.to_str(), Some("tests" | "tests.rs" | "suite" | "suite.rs")))
}

#[test]
fn rooms_import_what_the_design_lets_them_and_no_allowance_is_left_over() {
    // By room: what it imports, and a file that does.
    let mut imported = BTreeMap::<_, BTreeMap<_, PathBuf>>::new();
    for (path, text) in sources("src").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let imports = imports(&text).into_iter().map(|import| (import, path.clone()));
        imported.entry(room(&path)).or_default().extend(imports);
    }
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        let mut imports = imported.remove(room).unwrap_or_else(|| panic!("{room} has a rule and isn't there"));
        imports.remove(room);
        if allowed.contains(&"*") {
            continue;
        }
        let unused = allowed.iter().filter(|&&allowed| imports.remove(allowed).is_none());
        wrong.extend(unused.map(|allowed| format!("{room} may import {allowed}, and doesn't")));
        wrong.extend(imports.iter().map(|(import, path)| format!("{} imports {import}", path.display())));
    }
    assert!(imported.is_empty(), "rooms without a rule: {:?}", imported.keys());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_items_for_tests_are_passed_over() {
    let text = "\
use crate::a;
#[cfg(test)]
mod guard;
use crate::b;
#[cfg(test)]
impl Outputs {
    fn all() {
        crate::c::all();
    }
}
impl Outputs {
    #[cfg(test)]
    fn one() {
        crate::d::one();
    }
    fn two() -> crate::e::Two {}
}
#[cfg(test)]
mod tests {
    use crate::f;
}
";
    assert_eq!(imports(text), ["a", "b", "e"]);
}

#[test]
fn unsafe_lives_in_kernels_and_hw_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let may = ["kernels", "hw"].contains(&room(&path).as_str());
        let is_root = path.iter().count() == 1 && path.file_stem().is_some_and(|stem| stem == "lib");
        match (forbids(&text), is_covered(&path)) {
            (false, false) if !may && !is_root => {
                wrong.push(format!("{}: needs #![forbid(unsafe_code)]", path.display()));
            }
            (true, true) => wrong.push(format!("{}: a module above forbids unsafe already", path.display())),
            _ => {}
        }
        let lines: Vec<_> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let is_block = code.contains("unsafe {") || code.starts_with("unsafe impl");
            if code.starts_with("//") || !is_block {
                continue;
            }
            let before = &lines[i.saturating_sub(6)..=i];
            if !before.iter().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{}:{}: unsafe without its SAFETY sentence", path.display(), i + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn forbids(text: &str) -> bool {
    text.contains("#![forbid(unsafe_code)]")
}

/// One of the modules above a file forbids it for all below.
fn is_covered(path: &Path) -> bool {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let above = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    above
        .flat_map(|dir| [src.join(dir).join("mod.rs"), src.join(dir).with_extension("rs")])
        .filter(|module| *module != src.join(path))
        .any(|module| std::fs::read_to_string(module).is_ok_and(|text| forbids(&text)))
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for dir in ["src", "tests", "benches"] {
        for (path, text) in sources(dir) {
            let limit = if dir == "src" && path == Path::new("main.rs") { MAIN_MAX_LINES } else { MAX_LINES };
            let lines = text.lines().count();
            assert!(lines <= limit, "{dir}/{} has {lines} lines, more than {limit}", path.display());
        }
    }
}

#[test]
fn comments_are_as_narrow_as_the_code() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let long = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > MAX_COLUMNS;
        let lines = (1..).zip(text.lines()).filter(|(_, line)| long(line));
        wrong.extend(lines.map(|(number, _)| format!("{}:{number}", path.display())));
    }
    assert!(wrong.is_empty(), "comments wider than {MAX_COLUMNS} columns:\n{}", wrong.join("\n"));
}

#[test]
fn pages_are_narrow_enough_to_be_read_as_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [".", "docs", "models/cards", "models/train", "benches"].map(|folder| root.join(folder));
    let pages = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut wrong = Vec::new();
    for page in pages.filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.trim_start();
            fenced ^= words.starts_with("```");
            let is_prose = !fenced && !line.starts_with("    ") && !words.starts_with(['|', '#', '!']);
            if is_prose && line.chars().count() > MAX_PROSE_COLUMNS {
                wrong.push(format!("{}:{number}", page.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "prose wider than {MAX_PROSE_COLUMNS} columns:\n{}", wrong.join("\n"));
}

#[test]
fn modules_open_with_what_they_are_for() {
    for (path, text) in sources("src").iter().filter(|(path, _)| !is_test_file(path)) {
        let opening = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(opening.starts_with("//!"), "{} opens with: {opening}", path.display());
    }
}

#[test]
fn nothing_is_left_unsaid_or_undone() {
    let markers = [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["FIX", "ME"].concat()];
    for (path, text) in sources("src") {
        for marker in &markers {
            assert!(!text.contains(marker.as_str()), "{} says {marker}", path.display());
        }
    }
}

/// Cargo takes what is said for a target for a build on such a machine, too, and a board has no cross compiler and no
/// emulator.
#[test]
fn a_build_on_a_board_needs_nothing_of_a_cross_build() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.cargo"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let said: Vec<String> = files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(!said.is_empty());
    assert!(!said.iter().any(|line| line.starts_with("linker") || line.starts_with("runner")), "{said:?}");
}
