//! Which instruction set the kernels use: the best that the CPU has, or the one that [`OVERRIDE`] asks for.

#![forbid(unsafe_code)]

use std::sync::OnceLock;

/// The environment variable that chooses the kernels by [`Isa::as_str`]. It is read once.
pub const OVERRIDE: &str = "FACELATCH_KERNELS";

named! {
    /// An instruction set that kernels are written for, as [`OVERRIDE`], `doctor` and `bench` spell it. From the least
    /// to the best, of each architecture.
    Isa {
        /// Plain Rust: the reference.
        Scalar = "scalar",
        /// x86-64 with AVX2 (2013 on).
        Avx2 = "avx2",
        /// AVX2 and 256-bit VNNI (Alder Lake, 2021 on, and small cores of its kind).
        AvxVnni = "avx-vnni",
        /// AVX-512 with VNNI (Cascade Lake, 2019 on; Zen 4, 2022 on).
        Avx512Vnni = "avx512-vnni",
        /// Every 64-bit ARM.
        Neon = "neon",
        /// With the dot products of ARMv8.2 (Cortex-A55, A75 and later: Pi 5, Jetson Orin).
        NeonDotprod = "neon-dotprod",
        /// With the 8-bit matrix products of ARMv8.6 (Cortex-A510, A710 and later).
        NeonI8mm = "neon-i8mm",
    }
}

impl Isa {
    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && std::arch::is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx2.is_available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => Self::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => Self::NeonDotprod.is_available() && std::arch::is_aarch64_feature_detected!("i8mm"),
            _ => false,
        }
    }

    /// What kernels use that have no form of their own for it.
    pub(super) const fn base(self) -> Self {
        match self {
            Self::Scalar => Self::Scalar,
            Self::Avx2 | Self::AvxVnni | Self::Avx512Vnni => Self::Avx2,
            Self::Neon | Self::NeonDotprod | Self::NeonI8mm => Self::Neon,
        }
    }

    fn best() -> Self {
        Self::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }
}

/// What the kernels use in this process.
pub fn active() -> Isa {
    choice().isa
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
    let why = match Isa::parse(wish) {
        Some(isa) if isa.is_available() => return Choice { isa, note: None },
        Some(_) => "this CPU does not have it",
        None => "no kernels have that name",
    };
    let can = Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(Isa::as_str).collect::<Vec<_>>().join(" or ");
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
            let choice = choose(Some(isa.as_str()));
            assert_eq!((choice.isa, choice.note), (isa, None));
        }
    }

    #[test]
    fn any_other_wish_falls_back_to_scalar_and_says_why() {
        let absent = if cfg!(target_arch = "x86_64") { Isa::Neon } else { Isa::Avx2 };
        for (wish, why) in [(absent.as_str(), "this CPU does not have it"), ("avx9", "no kernels have that name")] {
            let choice = choose(Some(wish));
            assert_eq!(choice.isa, Isa::Scalar);
            let note = choice.note.expect("a reason");
            assert!(note.contains(wish) && note.contains(why) && note.contains("scalar or"), "{note}");
        }
    }
}
