//! What the README says in figures is what the cards and the files say: a figure that stands in two places ages in one
//! of them.

use std::path::{Path, PathBuf};

use facelatch::digest::Digest;

/// Columns of the README's row on liveness, as the card's table calls those kinds of attack.
const QUOTED_KINDS: [&str; 4] = ["print_flat", "phone", "screen_video", "photo_warm_person"];
const MASKS: [&str; 3] = ["mask_paper", "mask_latex", "mask_heated"];

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn text(of: &str) -> String {
    std::fs::read_to_string(path(of)).unwrap()
}

/// The cells of the first table row behind `heading` whose first cell is `row`, without their emphasis.
fn cells(text: &str, heading: &str, row: &str) -> Vec<String> {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("there is no {heading:?}"));
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let mut split = rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace("**", "")));
    let found = split.find_map(|mut cells| (cells.next()? == row).then(|| cells.collect()));
    found.unwrap_or_else(|| panic!("behind {heading:?} no row begins with {row:?}"))
}

/// "0.29 % (0.20 to 0.42)" → 0.29
fn percent(cell: &str) -> f64 {
    let number = cell.split('%').next().unwrap().trim();
    number.parse().unwrap_or_else(|_| panic!("{cell:?} doesn't begin with a percentage"))
}

#[test]
fn the_readme_says_of_attacks_what_the_liveness_card_says() {
    let (readme, card) = (text("README.md"), text("models/cards/liveness.md"));
    let held_out = |kind: &str| percent(&cells(&card, "### Held out first", kind)[0]);
    let said = cells(&readme, "## How well it tells the living", "camera, depth (8x8), thermal");
    for (kind, said) in QUOTED_KINDS.iter().zip(&said) {
        let (said, held_out) = (percent(said), held_out(kind));
        assert!((said - held_out).abs() < 0.051, "{kind}: {said} %, and the card has {held_out}");
    }
    let worst = MASKS.map(held_out).into_iter().fold(0.0, f64::max);
    assert_eq!(percent(said.last().unwrap()), worst.round(), "the worst mask");
}

#[test]
fn who_speaks_of_a_camera_alone_says_what_the_liveness_card_says() {
    const TENTHS: [&str; 11] = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let camera = cells(&text("models/cards/liveness.md"), "### Other sets of sensors", "camera");
    let [worst, mean] = [0, 1].map(|at| TENTHS[(percent(&camera[at]) / 10.0).round() as usize]);
    let (all, worst) =
        (format!("{mean} in ten of all attacks' windows pass"), format!("{worst} in ten of the worst attack's"));
    let said = |of: &str| text(of).split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join(" ");
    assert!(said("README.md").contains(&all), "{all}");
    for setup in ["src/cli/setup/question.rs", "src/cli/setup/write.rs"].map(said) {
        assert!(setup.contains(&all) && setup.contains(&worst), "{all}, {worst}");
    }
}

#[test]
fn the_readme_says_of_recognition_what_the_encoders_card_and_the_measurements_say() {
    let (readme, card, measured) = (text("README.md"), text("models/cards/encoder.md"), text("docs/measurements.md"));
    let here = "## How well it recognises";
    let accuracy = &cells(&readme, here, "LFW protocol: accuracy")[0];
    assert_eq!(accuracy, &cells(&card, "## Figures", "accuracy")[0]);
    assert_eq!(accuracy, &cells(&measured, "## Recognition", "facelatch's own")[0]);
    let tar = &cells(&readme, here, "True accept rate at a false match rate of 1e-3, 1e-4, 1e-5")[0];
    assert_eq!(tar, &cells(&card, "## Figures", "TAR at 1e-3, 1e-4, 1e-5")[0]);
    let of_table = "true accept rate at a false match rate of";
    assert_eq!(tar, &cells(&measured, of_table, "facelatch's own")[..3].join(", "));
}

#[test]
fn the_readme_says_how_large_the_networks_are() {
    let readme = text("README.md");
    let networks = ["detector", "landmarks", "encoder", "encoder-small", "liveness"];
    for file in networks.map(|name| format!("models/{name}.onnx")) {
        let bytes = std::fs::metadata(path(&file)).unwrap().len() as f64;
        let size = if bytes < 5e5 { format!("{:.0} kB", bytes / 1e3) } else { format!("{:.2} MB", bytes / 1e6) };
        let row = readme.lines().find(|line| line.contains(&format!("| `{file}` |")));
        let row = row.unwrap_or_else(|| panic!("{file} isn't in the table of networks"));
        assert!(row.contains(&format!("| {size} |")), "{file} is of {size}: {row}");
    }
}

/// A figure of a network that doesn't ship any more says nothing of the one that does.
#[test]
fn the_cards_speak_of_networks_that_ship() {
    let entries = |of: &str| std::fs::read_dir(path(of)).unwrap().map(|entry| entry.unwrap().path());
    let networks = entries("models").filter(|path| path.extension().is_some_and(|kind| kind == "onnx"));
    let shipped: Vec<String> = networks.map(|path| Digest::of(&std::fs::read(path).unwrap()).to_string()).collect();
    let cards: String = entries("models/cards").map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let is_hex = |word: &&str| word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit());
    let begun = cards.split('…').filter_map(|before| before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next());
    let told: Vec<&str> = begun.filter(is_hex).collect();
    assert!(!told.is_empty());
    for digest in told {
        assert!(shipped.iter().any(|whole| whole.starts_with(digest)), "{digest}…");
    }
}
