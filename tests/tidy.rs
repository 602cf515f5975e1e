//! The house rules that the compiler doesn't keep: who may import whom, where `unsafe` lives, how long a file grows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A room, and the rooms that it may import. `use` of anything else is a door in the wrong wall.
const MAY_IMPORT: [(&str, &[&str]); 23] = [
    ("units", &[]),
    ("time", &[]),
    ("person", &[]),
    ("draft", &[]),
    ("frame", &["time"]),
    ("kernels", &["frame"]),
    ("liveness", &["face", "frame", "gate", "infer", "kernels", "ports", "time"]),
    ("gate", &["person", "time", "units"]),
    ("infer", &["draft", "face", "frame", "units", "gallery", "kernels"]),
    ("face", &["frame", "gate", "infer", "kernels", "time", "units"]),
    ("gallery", &["face", "gate", "kernels", "person", "time", "units"]),
    ("eval", &["face", "frame", "gallery", "gate", "infer", "kernels", "liveness", "person", "time", "units"]),
    ("ports", &["frame", "gallery", "gate", "person", "time"]),
    ("hw", &["face", "frame", "gallery", "gate", "person", "ports", "time", "units"]),
    ("sim", &["face", "frame", "gallery", "gate", "kernels", "liveness", "person", "ports", "time", "units"]),
    ("config", &["face", "gallery", "frame", "gate", "hw", "infer", "liveness", "ports", "time", "units"]),
    ("control", &["daemon", "gate", "person", "time", "units"]),
    (
        "daemon",
        &["control", "face", "frame", "gallery", "gate", "hw", "infer", "liveness", "person", "ports", "time", "units"],
    ),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
    ("alloc", &[]),
    ("testing", &[]),
];

/// Files that are longer than 500 lines, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];
const MAX_LINES: usize = 500;
const MAIN_MAX_LINES: usize = 60;

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
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
    assert!(found.len() > 50, "the sources are where they are expected");
    found
}

fn room(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms named behind `crate::`, tests left out: they may look anywhere.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut rooms = Vec::new();
    for line in lines {
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
fn rooms_import_only_what_the_design_lets_them() {
    let rules: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test_file(path)) {
        let room = room(path);
        let allowed = rules.get(room.as_str()).unwrap_or_else(|| panic!("{room} is a room without a rule"));
        if allowed.contains(&"*") {
            continue;
        }
        for import in imports(text) {
            if import != room && !import.is_empty() && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_lives_in_kernels_and_hw_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let may = ["kernels", "hw"].contains(&room(&path).as_str());
        let is_root = path.iter().count() == 1 && path.file_stem().is_some_and(|stem| stem == "lib");
        if !may && !is_root && !is_covered(&path, &text) {
            wrong.push(format!("{}: needs #![forbid(unsafe_code)]", path.display()));
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

/// A file forbids it itself, or one of the modules above does for all below.
fn is_covered(path: &Path, text: &str) -> bool {
    let forbids = |text: &str| text.contains("#![forbid(unsafe_code)]");
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let above = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    forbids(text)
        || above
            .flat_map(|dir| [src.join(dir).join("mod.rs"), src.join(dir).with_extension("rs")])
            .any(|module| std::fs::read_to_string(module).is_ok_and(|text| forbids(&text)))
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        let limit = if name == "main.rs" { MAIN_MAX_LINES } else { MAX_LINES };
        let has_reason = LONG_FILES.iter().any(|(long, _)| *long == name);
        let lines = text.lines().count();
        assert!(lines <= limit || has_reason, "{name} has {lines} lines, more than {limit}");
    }
}

#[test]
fn modules_open_with_what_they_are_for() {
    for (path, text) in sources().iter().filter(|(path, _)| !is_test_file(path)) {
        let opening = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(opening.starts_with("//!"), "{} opens with: {opening}", path.display());
    }
}

#[test]
fn nothing_is_left_unsaid_or_undone() {
    let markers = [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["FIX", "ME"].concat()];
    for (path, text) in sources() {
        for marker in &markers {
            assert!(!text.contains(marker.as_str()), "{} says {marker}", path.display());
        }
    }
}
