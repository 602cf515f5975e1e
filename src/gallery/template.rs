//! A template: one encoding of a person's face, with what is needed to judge whether to keep and whether to use it.
//!
//! Its bytes are what the seal encrypts. Person, template number and model are not among them: they are columns of the
//! database, and the seal's associated data ties them to the bytes.

use std::fmt;

use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::face::encoding::{Encoding, MAX_DIMS};
use crate::person::PersonId;
use crate::time::Wall;

/// The layout that [`Template::to_bytes`] writes.
const VERSION: u8 = 1;
/// Version, created, quality, dims.
const HEADER_BYTES: usize = 1 + 8 + 4 + 2;

/// A template's number. Like a person's it never comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(u32);

impl TemplateId {
    pub const fn new(id: u32) -> Self {
        Self(id)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {}", self.0)
    }
}

/// A template before the store numbers it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTemplate {
    pub encoding: Encoding,
    /// Of the model file that made the encoding. Encodings of two models can't be compared.
    pub model_sha256: Digest,
    /// The face's quality; larger is better, and only its order matters here. NaN and infinity are kept as 0.
    pub quality: f32,
    pub created: Wall,
}

/// A template that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub id: TemplateId,
    pub person: PersonId,
    pub encoding: Encoding,
    pub model_sha256: Digest,
    /// Larger is better; only its order matters here.
    pub quality: f32,
    pub created: Wall,
}

/// Why bytes are no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a template of {0} bytes is cut short or too long")]
    Length(usize),
    #[error("a template of layout {0}, and this facelatch reads {VERSION}: install the one that wrote it")]
    Version(u8),
    #[error("a template whose encoding is not of unit length, or whose quality is no number")]
    Value,
}

impl Template {
    /// The encoding and what goes with it, little endian:
    ///
    /// | bytes | what                                  |
    /// |-------|---------------------------------------|
    /// | 1     | layout, 1                             |
    /// | 8     | created, `i64`, Unix milliseconds     |
    /// | 4     | quality, `f32`                        |
    /// | 2     | dims, `u16`                           |
    /// | 4·n   | the encoding, `f32` each              |
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let numbers = self.encoding.as_slice();
        let dims = u16::try_from(numbers.len()).expect("an Encoding has at most MAX_DIMS numbers, far below 65 536");
        // Reserved in full: growing would leave copies behind that nobody zeroes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + 4 * numbers.len()));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.created.unix_millis().to_le_bytes());
        bytes.extend_from_slice(&self.quality.to_le_bytes());
        bytes.extend_from_slice(&dims.to_le_bytes());
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Template::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`TemplateError`] for a length other than the header promises, another layout, and numbers that are no encoding.
    pub fn from_bytes(
        id: TemplateId,
        person: PersonId,
        model_sha256: Digest,
        bytes: &[u8],
    ) -> Result<Self, TemplateError> {
        let wrong_length = || TemplateError::Length(bytes.len());
        let (&version, rest) = bytes.split_first().ok_or_else(wrong_length)?;
        if version != VERSION {
            return Err(TemplateError::Version(version));
        }
        let (created, rest) = rest.split_first_chunk().ok_or_else(wrong_length)?;
        let (quality, rest) = rest.split_first_chunk().ok_or_else(wrong_length)?;
        let (dims, numbers) = rest.split_first_chunk().ok_or_else(wrong_length)?;
        let dims = usize::from(u16::from_le_bytes(*dims));
        let (numbers, odd) = numbers.as_chunks::<4>();
        if dims > MAX_DIMS || numbers.len() != dims || !odd.is_empty() {
            return Err(wrong_length());
        }
        let mut unit = Zeroizing::new([0f32; MAX_DIMS]);
        for (number, bytes) in unit.iter_mut().zip(numbers) {
            *number = f32::from_le_bytes(*bytes);
        }
        let encoding = Encoding::from_unit(&unit[..dims]).ok_or(TemplateError::Value)?;
        let quality = f32::from_le_bytes(*quality);
        if !quality.is_finite() {
            return Err(TemplateError::Value);
        }
        let created = Wall::from_unix_millis(i64::from_le_bytes(*created));
        Ok(Self { id, person, encoding, model_sha256, quality, created })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A template of which only model, number, person and direction matter.
    pub fn of_model(model_sha256: Digest, id: u32, person: u32, raw: &[f32]) -> Template {
        Template {
            id: TemplateId::new(id),
            person: PersonId::new(person),
            encoding: Encoding::from_raw(raw).unwrap(),
            model_sha256,
            quality: 1.0,
            created: Wall::from_unix_millis(0),
        }
    }

    fn template(raw: &[f32]) -> Template {
        Template {
            id: TemplateId::new(7),
            person: PersonId::new(3),
            encoding: Encoding::from_raw(raw).unwrap(),
            model_sha256: Digest([9; 32]),
            quality: 0.75,
            created: Wall::from_unix_millis(1_790_000_000_000),
        }
    }

    fn read(bytes: &[u8]) -> Result<Template, TemplateError> {
        Template::from_bytes(TemplateId::new(7), PersonId::new(3), Digest([9; 32]), bytes)
    }

    #[test]
    fn a_template_cut_at_any_byte_is_refused_and_so_is_a_longer_one() {
        let bytes = template(&[1.0, -2.0, 3.0]).to_bytes();
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Err(TemplateError::Length(end)));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(read(&longer), Err(TemplateError::Length(longer.len())));
    }

    #[test]
    fn a_template_of_another_layout_or_with_a_nan_is_refused() {
        let good = template(&[1.0, 0.0]).to_bytes();
        let mut bytes = good.clone();
        bytes[0] = 2;
        assert_eq!(read(&bytes), Err(TemplateError::Version(2)));
        let mut bytes = good.clone();
        bytes[9..13].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(read(&bytes), Err(TemplateError::Value));
        let mut bytes = good;
        bytes[15..19].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(read(&bytes), Err(TemplateError::Value));
    }

    proptest! {
        #![proptest_config(crate::testing::properties(256))]

        #[test]
        fn what_was_written_reads_back_bit_for_bit(raw in prop::collection::vec(-1f32..1.0, 1..=MAX_DIMS)) {
            prop_assume!(Encoding::from_raw(&raw).is_some());
            let template = template(&raw);
            prop_assert_eq!(read(&template.to_bytes()), Ok(template));
        }

        #[test]
        fn corrupt_bytes_give_an_error_or_a_unit_vector_and_never_a_panic(
            raw in prop::collection::vec(-1f32..1.0, 1..64),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..8),
        ) {
            prop_assume!(Encoding::from_raw(&raw).is_some());
            let mut bytes = template(&raw).to_bytes();
            for (at, mask) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            if let Ok(read) = read(&bytes) {
                prop_assert!(read.quality.is_finite() && read.encoding.as_slice().iter().all(|x| x.is_finite()));
            }
        }
    }
}
