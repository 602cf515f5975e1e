//! Seals: a template is readable only with the key of its person, and that key only with the door's master key.
//!
//! Each person has a random data key, which the master key wraps. Each template is sealed by itself under the data key
//! with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03; nonces of 192 bits may be drawn at random). The associated data
//! names layout, person, model and template, so that a row moved to another person opens no more than a forged one.
//! Without its wrapped data key a template is noise: that is how a person is erased, wherever copies of the rows
//! remain.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::template::{Template, TemplateError, TemplateId};
use crate::digest::Digest;
use crate::person::PersonId;

/// Bytes of a key (256 bits).
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// First part of each kind of associated data, so that no seal passes for one of another kind.
const DATA_KEY_TAG: &[u8] = b"facelatch data key 1";
const TEMPLATE_TAG: &[u8] = b"facelatch template 1";
const CHECK_TAG: &[u8] = b"facelatch key check 1";

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the system gives no random numbers ({0}): the kernel's random generator must be ready first")]
    Random(getrandom::Error),
    /// Another key, another row's data, or a changed byte: the cipher can't tell which.
    #[error("the seal does not hold: the bytes were changed, or belong to another person or key")]
    Broken,
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The door's master key. Zeroed when it is dropped, and never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; KEY_BYTES]);

/// The key of one person's templates. Zeroed when it is dropped, and never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_BYTES]);

impl MasterKey {
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new random one.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate() -> Result<Self, SealError> {
        random().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A value to keep beside what the key seals, by which [`MasterKey::made`] knows the key again. It tells nothing
    /// about the key.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn check_value(&self) -> Result<Vec<u8>, SealError> {
        seal(&self.0, CHECK_TAG, &[])
    }

    /// Whether this key made `check_value`.
    pub fn made(&self, check_value: &[u8]) -> bool {
        open(&self.0, CHECK_TAG, check_value).is_ok()
    }
}

impl DataKey {
    /// A new random one.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate() -> Result<Self, SealError> {
        random().map(Self)
    }

    /// The key as it may be stored: sealed under the master key, for this person alone.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn wrap(&self, master: &MasterKey, person: PersonId) -> Result<Vec<u8>, SealError> {
        seal(&master.0, &data_key_context(person), &self.0)
    }

    /// Opens what [`DataKey::wrap`] sealed.
    ///
    /// # Errors
    /// [`SealError::Broken`].
    pub fn unwrap(master: &MasterKey, person: PersonId, wrapped: &[u8]) -> Result<Self, SealError> {
        let bytes = open(&master.0, &data_key_context(person), wrapped)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| SealError::Broken)
    }

    /// A template as it may be stored.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, template: &Template) -> Result<Vec<u8>, SealError> {
        let context = template_context(template.person, &template.model_sha256, template.id);
        seal(&self.0, &context, &template.to_bytes())
    }

    /// Opens what [`DataKey::seal`] sealed, for the person, model and number that it was sealed with.
    ///
    /// # Errors
    /// [`SealError::Broken`], or what is wrong with the template inside.
    pub fn open(
        &self,
        id: TemplateId,
        person: PersonId,
        model_sha256: Digest,
        sealed: &[u8],
    ) -> Result<Template, SealError> {
        let bytes = open(&self.0, &template_context(person, &model_sha256, id), sealed)?;
        Ok(Template::from_bytes(id, person, model_sha256, &bytes)?)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(hidden)")
    }
}

fn data_key_context(person: PersonId) -> Vec<u8> {
    [DATA_KEY_TAG, &person.get().to_le_bytes()].concat()
}

fn template_context(person: PersonId, model: &Digest, id: TemplateId) -> Vec<u8> {
    [TEMPLATE_TAG, &person.get().to_le_bytes(), &model.0, &id.get().to_le_bytes()].concat()
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(SealError::Random)?;
    Ok(bytes)
}

/// Nonce, ciphertext, tag.
fn seal(key: &[u8; KEY_BYTES], context: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealError> {
    let nonce = random::<NONCE_BYTES>()?;
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(XNonce::from_slice(&nonce), Payload { msg: secret, aad: context })
        .expect("the cipher refuses only messages beyond 256 GiB");
    Ok([&nonce[..], &sealed].concat())
}

fn open(key: &[u8; KEY_BYTES], context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(SealError::Broken)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: context })
        .map(Zeroizing::new)
        .map_err(|_| SealError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::template::tests::of_model;

    const ANA: PersonId = PersonId::new(1);
    const BEN: PersonId = PersonId::new(2);

    fn template() -> Template {
        of_model(Digest([7; 32]), 5, ANA.get(), &[0.1, 0.2, 0.3, 0.4])
    }

    #[test]
    fn a_sealed_template_opens_for_its_own_person_model_and_number_only() {
        let (key, template) = (DataKey::generate().unwrap(), template());
        let sealed = key.seal(&template).unwrap();
        assert_eq!(key.open(template.id, ANA, Digest([7; 32]), &sealed), Ok(template.clone()));
        assert_eq!(key.open(template.id, BEN, Digest([7; 32]), &sealed), Err(SealError::Broken));
        assert_eq!(key.open(template.id, ANA, Digest([8; 32]), &sealed), Err(SealError::Broken));
        assert_eq!(key.open(TemplateId::new(6), ANA, Digest([7; 32]), &sealed), Err(SealError::Broken));
        let other = DataKey::generate().unwrap();
        assert_eq!(other.open(template.id, ANA, Digest([7; 32]), &sealed), Err(SealError::Broken));
    }

    #[test]
    fn a_seal_with_any_byte_changed_or_cut_is_broken() {
        let (key, template) = (DataKey::generate().unwrap(), template());
        let sealed = key.seal(&template).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x10;
            assert_eq!(key.open(template.id, ANA, Digest([7; 32]), &changed), Err(SealError::Broken));
            assert_eq!(key.open(template.id, ANA, Digest([7; 32]), &sealed[..at]), Err(SealError::Broken));
        }
    }

    #[test]
    fn two_seals_of_one_template_share_no_bytes_worth_comparing() {
        let (key, template) = (DataKey::generate().unwrap(), template());
        let (a, b) = (key.seal(&template).unwrap(), key.seal(&template).unwrap());
        assert!(a.iter().zip(&b).filter(|(a, b)| a == b).count() < a.len() / 4);
    }

    #[test]
    fn a_data_key_unwraps_under_its_master_key_for_its_person_only() {
        let (master, data) = (MasterKey::generate().unwrap(), DataKey::generate().unwrap());
        let wrapped = data.wrap(&master, ANA).unwrap();
        assert_eq!(DataKey::unwrap(&master, ANA, &wrapped).unwrap().0, data.0);
        assert!(DataKey::unwrap(&master, BEN, &wrapped).is_err());
        assert!(DataKey::unwrap(&MasterKey::generate().unwrap(), ANA, &wrapped).is_err());
    }

    #[test]
    fn a_master_key_knows_its_own_check_value_and_no_other() {
        let (key, other) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        let value = key.check_value().unwrap();
        assert!(key.made(&value) && !other.made(&value) && !key.made(&[]));
        assert_eq!(format!("{key:?}"), "MasterKey(hidden)");
    }
}
