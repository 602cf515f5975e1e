//! Which instruction set the kernels use: the best that the CPU has, or the one that [`OVERRIDE`] asks for.

#![forbid(unsafe_code)]

use std::sync::OnceLock;

/// The environment variable that chooses the kernels: `scalar`, `avx2` or `neon`. It is read once.
pub const OVERRIDE: &str = "FACELATCH_KERNELS";

/// An instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust: the reference.
    Scalar,
    /// x86-64 with AVX2 (2013 on).
    Avx2,
    /// Every 64-bit ARM.
    Neon,
}

impl Isa {
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Neon];

    /// As [`OVERRIDE`], `doctor` and `bench` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
        }
    }

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// What the kernels use in this process.
    pub fn detect() -> Self {
        choice().isa
    }

    fn best() -> Self {
        [Self::Avx2, Self::Neon].into_iter().find(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }
}

/// The same as [`Isa::detect`].
pub fn active() -> Isa {
    Isa::detect()
}

/// Why the kernels are not those that [`OVERRIDE`] asks for, in a sentence; `None` where there is nothing to say.
pub fn note() -> Option<&'static str> {
    choice().note.as_deref()
}

struct Choice {
    isa: Isa,
    note: Option<String>,
}

fn choice() -> &'static Choice {
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    CHOICE.get_or_init(|| choose(std::env::var_os(OVERRIDE).map(|wish| wish.to_string_lossy().into_owned()).as_deref()))
}

fn choose(wish: Option<&str>) -> Choice {
    let Some(wish) = wish.filter(|wish| !wish.is_empty()) else {
        return Choice { isa: Isa::best(), note: None };
    };
    let why = match Isa::ALL.into_iter().find(|isa| isa.name() == wish) {
        Some(isa) if isa.is_available() => return Choice { isa, note: None },
        Some(_) => "this CPU does not have it",
        None => "no kernels have that name",
    };
    let can = Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(Isa::name).collect::<Vec<_>>().join(" or ");
    Choice {
        isa: Isa::Scalar,
        note: Some(format!("{OVERRIDE}={wish}: {why}; the scalar kernels run. Say {can}, or unset it for the fastest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_the_best_is_taken_and_nothing_is_noted() {
        for wish in [None, Some("")] {
            let choice = choose(wish);
            assert_eq!((choice.isa, choice.note), (Isa::best(), None));
        }
    }

    #[test]
    fn a_wish_that_the_cpu_can_grant_is_granted() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let choice = choose(Some(isa.name()));
            assert_eq!((choice.isa, choice.note), (isa, None));
        }
    }

    #[test]
    fn any_other_wish_falls_back_to_scalar_and_says_why() {
        let absent = if cfg!(target_arch = "x86_64") { Isa::Neon } else { Isa::Avx2 };
        for (wish, why) in [(absent.name(), "this CPU does not have it"), ("avx9", "no kernels have that name")] {
            let choice = choose(Some(wish));
            assert_eq!(choice.isa, Isa::Scalar);
            let note = choice.note.expect("a reason");
            assert!(note.contains(wish) && note.contains(why) && note.contains("scalar or"), "{note}");
        }
    }
}
