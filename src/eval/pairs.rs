//! LFW's `pairs.txt`: folds of pairs that show one person, and of pairs that show two.
//!
//! The first line is `FOLDS N` (or `N` alone, for one fold); each fold has N lines `NAME I J` and N lines
//! `NAME I OTHER J`, of which NAME_000I.jpg in the folder NAME is the picture (Huang et al. 2007).

use std::path::{Path, PathBuf};

/// The largest file of pairs.
pub const MAX_PAIRS_BYTES: u64 = 16 << 20;
/// The most pairs of one file.
pub const MAX_PAIRS: usize = 1_000_000;
/// What pictures may be called, in the order in which they are looked for.
const EXTENSIONS: [&str; 4] = ["jpg", "png", "jpeg", "webp"];

/// One comparison: indices into [`Pairs::images`], and whether both show one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub a: usize,
    pub b: usize,
    pub same: bool,
    pub fold: usize,
}

/// A picture by its person and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    pub person: String,
    pub number: u32,
}

/// A whole file of pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    pub folds: usize,
    pub pairs: Vec<Pair>,
    /// Each picture once, in the order of names.
    pub images: Vec<ImageName>,
}

/// What is wrong with a file of pairs, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: String },
    #[error("{got} pairs, and its first line promises {promised}")]
    Count { promised: usize, got: usize },
}

impl ImageName {
    /// Where the picture lies in a folder of people; the usual name where it doesn't exist.
    pub fn path(&self, images: &Path) -> PathBuf {
        let Self { person, number } = self;
        let path = |extension| images.join(person).join(format!("{person}_{number:04}.{extension}"));
        EXTENSIONS.into_iter().map(path).find(|p| p.exists()).unwrap_or_else(|| path(EXTENSIONS[0]))
    }
}

impl Pairs {
    /// # Errors
    /// The first line that isn't as it should be, with its number.
    pub fn parse(text: &str) -> Result<Self, PairsError> {
        let wrong = |line: usize, reason: String| PairsError::Line { line: line + 1, reason };
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (at, header) = lines.next().ok_or_else(|| wrong(0, "the file is empty".into()))?;
        let numbers: Vec<_> = header.split_whitespace().map(str::parse::<usize>).collect();
        let (folds, each) = match numbers.as_slice() {
            [Ok(folds @ 1..), Ok(each @ 1..)] => (*folds, *each),
            [Ok(each @ 1..)] => (1, *each),
            _ => {
                return Err(wrong(
                    at,
                    format!("{header:?} is not the number of folds and of pairs in each half of one"),
                ));
            }
        };
        let promised = folds.checked_mul(each).and_then(|n| n.checked_mul(2)).filter(|n| *n <= MAX_PAIRS);
        let promised = promised.ok_or_else(|| wrong(at, format!("more than {MAX_PAIRS} pairs")))?;

        let mut named = Vec::new();
        for (at, line) in lines.by_ref().take(promised) {
            let same = named.len() / each % 2 == 0;
            named.push(parse_pair(line, same).map_err(|reason| wrong(at, reason))?);
        }
        if let Some((at, _)) = lines.next() {
            return Err(wrong(at, format!("more pairs than the {promised} that the first line promises")));
        }
        if named.len() < promised {
            return Err(PairsError::Count { promised, got: named.len() });
        }
        let mut images: Vec<_> = named.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
        images.sort_unstable();
        images.dedup();
        let find =
            |name: &ImageName| images.binary_search(name).expect("every name of a pair is in the list made of them");
        let pair = |(i, (a, b)): (usize, &(ImageName, ImageName))| Pair {
            a: find(a),
            b: find(b),
            same: i / each % 2 == 0,
            fold: i / (2 * each),
        };
        let pairs = named.iter().enumerate().map(pair).collect();
        Ok(Self { folds, pairs, images })
    }
}

fn parse_pair(line: &str, same: bool) -> Result<(ImageName, ImageName), String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match (words.as_slice(), same) {
        ([person, a, b], true) => Ok((image(person, a)?, image(person, b)?)),
        ([person, a, other, b], false) if person != other => Ok((image(person, a)?, image(other, b)?)),
        ([person, _, other, _], false) => Err(format!("a pair of different people names {person} and {other}")),
        (_, true) => Err(format!("{line:?} is not NAME I J, a pair of one person")),
        (_, false) => Err(format!("{line:?} is not NAME I OTHER J, a pair of different people")),
    }
}

fn image(person: &str, number: &str) -> Result<ImageName, String> {
    // A name is a folder, and must not lead out of the one that it lies in.
    if person.starts_with('.') || person.contains(['/', '\\']) {
        return Err(format!("{person:?} is no name of a person"));
    }
    let number = number.parse().map_err(|_| format!("{number:?} is no number of a picture"))?;
    Ok(ImageName { person: person.into(), number })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_FOLDS: &str = "2\t1\nAna\t1\t2\nAna\t1\tBen\t3\nBen\t3\t4\nBen\t4\tCy\t1\n";

    #[test]
    fn folds_and_their_halves_are_read_and_pictures_are_listed_once() {
        let pairs = Pairs::parse(TWO_FOLDS).unwrap();
        assert_eq!((pairs.folds, pairs.images.len()), (2, 5));
        let flags: Vec<_> = pairs.pairs.iter().map(|p| (p.same, p.fold)).collect();
        assert_eq!(flags, [(true, 0), (false, 0), (true, 1), (false, 1)]);
        let file = pairs.images[pairs.pairs[3].b].path(Path::new("lfw"));
        assert_eq!(file, Path::new("lfw/Cy/Cy_0001.jpg"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let told = |text: &str| Pairs::parse(text).unwrap_err().to_string();
        assert!(told("").starts_with("line 1:"));
        assert!(told("ten folds\n").starts_with("line 1:"));
        assert!(told(&TWO_FOLDS.replace("Ben\t3\t4", "Ben\t3\tx")).starts_with("line 4: \"x\""));
        assert!(told(&TWO_FOLDS.replace("Ana\t1\tBen\t3", "Ana\t1\t3")).starts_with("line 3:"));
        assert!(told(&TWO_FOLDS.replace("Ana\t1\tBen\t3", "Ana\t1\tAna\t3")).starts_with("line 3:"));
        assert!(told(&TWO_FOLDS.replace("Cy", "../Cy")).starts_with("line 5:"));
        assert!(told(&format!("{TWO_FOLDS}Ana\t1\t2\n")).starts_with("line 6:"));
        assert!(told("2\t1\nAna\t1\t2\n").contains("1 pairs, and its first line promises 4"));
        assert!(told("99999999\t99999999\n").contains("more than"));
    }
}
