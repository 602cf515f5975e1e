//! Where the master key comes from: systemd's credentials, else a file of mode 0600, made at first use.
//!
//! The file holds 64 hexadecimal digits. It belongs outside the database's directory, so that who copies the one has
//! not copied the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::{KEY_BYTES, MasterKey, SealError};
use crate::draft::parent;

/// The credential's name: `LoadCredentialEncrypted=facelatch.key` in the unit.
pub const CREDENTIAL: &str = "facelatch.key";

/// What the unit takes the credential from (`LoadCredential=`): root's own, which systemd alone reads for the service.
pub const SERVICE_KEY: &str = "/etc/facelatch/facelatch.key";

/// What a sealed key file is called behind the key file's name, in systemd/facelatch-sealed-key.conf.
const SEALED_ENDING: &str = "cred";
/// What the credential says where systemd found no key (`SetCredential=` in the unit): without it the service would not
/// even start, and nobody would be let out.
const NO_CREDENTIAL: &[u8] = b"missing";
const HEX_DIGITS: usize = 2 * KEY_BYTES;
/// More than a key and a line's end is no key file.
const MAX_FILE_BYTES: u64 = 256;
/// Permission bits of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: no key file there, and {} can only be read with the key it was made with: restore the key from its \
             copy, or move the gallery away and enrol everybody anew", file.display(), gallery.display())]
    Missing { file: PathBuf, gallery: PathBuf },
    #[error("{}: no key file there, and {} is a link to {}, where nothing is: mount its file system, or remove the link; no key was \
             made", file.display(), gallery.display(), leads_to.display())]
    Dangling { file: PathBuf, gallery: PathBuf, leads_to: PathBuf },
    #[error("{}: no key file there, but a sealed one, which systemd alone opens: run the command by it, `sudo systemd-run --pipe \
             --wait --collect -p LoadCredentialEncrypted={CREDENTIAL}:{} facelatch …` (docs/upkeep.md), or restore the key from its \
             copy", file.display(), sealed.display())]
    Sealed { file: PathBuf, sealed: PathBuf },
    #[error(
        "{SERVICE_KEY}: there was no key when the service started{}: restore it from its copy, or enrol somebody, which makes one \
             where there is no gallery yet, and then run `systemctl restart facelatch`",
        nor_in(file)
    )]
    NotHanded { file: PathBuf },
    #[error("{}: the key file can be read by others (mode {mode:04o}): run `chmod 600 {}`", file.display(), file.display())]
    Mode { file: PathBuf, mode: u32 },
    #[error("{}: a key file holds {HEX_DIGITS} hexadecimal digits and nothing else: restore it from its copy", file.display())]
    Content { file: PathBuf },
    #[error("{}: is no ordinary file: name one as the key file", file.display())]
    NotAFile { file: PathBuf },
    #[error("{}: the key file can't be read ({source}): run as root (sudo), or as the user that owns it", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{}: the key file can't be made ({source}): name one in a directory that exists and can be written to", file.display())]
    Make { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Random(#[from] SealError),
}

/// The two places where the key may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlaces {
    /// systemd's directory of credentials; its [`CREDENTIAL`], where there is one, comes first.
    pub credentials: Option<PathBuf>,
    /// The key file.
    pub file: PathBuf,
}

/// A key, and where it came from.
#[derive(Debug)]
pub struct Found {
    pub key: MasterKey,
    pub from: PathBuf,
    /// A key file was made just now: a sentence for the person who must keep a copy of it.
    pub notice: Option<String>,
}

impl KeyPlaces {
    /// `$CREDENTIALS_DIRECTORY`, which systemd sets, and this file.
    pub fn from_env(file: impl Into<PathBuf>) -> Self {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        Self { credentials, file: file.into() }
    }

    /// The key of the gallery at `gallery`. Where neither place has one and there is no gallery yet, a key file is
    /// made.
    ///
    /// # Errors
    /// [`KeyError`]; it names the file and what to do.
    pub fn find(&self, gallery: &Path) -> Result<Found, KeyError> {
        if let Some(credential) = self.credentials.as_ref().map(|dir| dir.join(CREDENTIAL)) {
            match read(&credential, Trust::Systemd) {
                Ok(Some(key)) => return Ok(Found { key, from: credential, notice: None }),
                Ok(None) => {}
                Err(KeyError::NotHanded { .. }) => return self.find_though_not_handed(),
                Err(error) => return Err(error),
            }
        }
        if let Some(key) = read(&self.file, Trust::OwnerOnly)? {
            return Ok(Found { key, from: self.file.clone(), notice: None });
        }
        if let Some(sealed) = self.sealed() {
            return Err(KeyError::Sealed { file: self.file.clone(), sealed });
        }
        // One that can't be looked for may be there, and so may one on a disk that isn't mounted, to which a link
        // leads: a second key would not open it.
        if fs::symlink_metadata(gallery).map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true) {
            let (file, gallery) = (self.file.clone(), gallery.to_owned());
            return Err(match fs::read_link(&gallery) {
                Ok(leads_to) if matches!(gallery.try_exists(), Ok(false)) => {
                    KeyError::Dangling { file, gallery, leads_to }
                }
                _ => KeyError::Missing { file, gallery },
            });
        }
        let made = make(&self.file)?;
        // Another process may have been first: what is in the file counts.
        let key = read(&self.file, Trust::OwnerOnly)?
            .ok_or_else(|| KeyError::Make { file: self.file.clone(), source: io::ErrorKind::NotFound.into() })?;
        Ok(Found { key, from: self.file.clone(), notice: made.then(|| notice(&self.file, gallery)) })
    }

    /// The service's way: it makes no key, which it could only make beside the gallery.
    fn find_though_not_handed(&self) -> Result<Found, KeyError> {
        match read(&self.file, Trust::OwnerOnly) {
            Ok(Some(key)) => Ok(Found { key, from: self.file.clone(), notice: None }),
            Ok(None) | Err(KeyError::Read { .. }) => Err(KeyError::NotHanded { file: self.file.clone() }),
            Err(error) => Err(error),
        }
    }

    /// The key as `systemd-creds encrypt` has sealed it to this board, where it lies beside the key file's place.
    pub fn sealed(&self) -> Option<PathBuf> {
        Some(self.file.with_added_extension(SEALED_ENDING)).filter(|sealed| sealed.exists())
    }
}

/// Where else the service looked in vain.
fn nor_in(file: &Path) -> String {
    if file == Path::new(SERVICE_KEY) { String::new() } else { format!(", and it can read none in {}", file.display()) }
}

fn notice(file: &Path, gallery: &Path) -> String {
    let beside = match (file.parent(), gallery.parent()) {
        (Some(a), Some(b)) if a == b => " It lies beside the gallery: who copies that directory has both, so move it.",
        _ => "",
    };
    format!(
        "made {}: it guards the face templates in {}, which nobody can read without it. Keep a copy away from the \
         board.{beside}",
        file.display(),
        gallery.display()
    )
}

/// Who vouches that nobody else reads the file.
#[derive(Clone, Copy, PartialEq)]
enum Trust {
    /// The service manager, which may show an access list as group bits.
    Systemd,
    /// The mode itself.
    OwnerOnly,
}

/// The key in this file; `None` where there is no file.
fn read(path: &Path, trust: Trust) -> Result<Option<MasterKey>, KeyError> {
    let file = path.to_owned();
    // Without waiting: a pipe in the place of the file must not stop the door.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC).bits().cast_signed();
    let opened = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeyError::Read { file, source }),
        Ok(opened) => opened,
    };
    let meta = opened.metadata().map_err(|source| KeyError::Read { file: file.clone(), source })?;
    if !meta.is_file() {
        return Err(KeyError::NotAFile { file });
    }
    if trust == Trust::OwnerOnly && meta.mode() & OTHERS != 0 {
        return Err(KeyError::Mode { file, mode: meta.mode() & 0o7777 });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize));
    if let Err(source) = opened.take(MAX_FILE_BYTES).read_to_end(&mut text) {
        return Err(KeyError::Read { file, source });
    }
    match trust {
        Trust::Systemd if *text == NO_CREDENTIAL => Err(KeyError::NotHanded { file }),
        _ => from_hex(text.trim_ascii()).map(Some).ok_or(KeyError::Content { file }),
    }
}

/// Makes the file whole or not at all; `false` where it already exists.
fn make(path: &Path) -> Result<bool, KeyError> {
    let failed = |source| KeyError::Make { file: path.to_owned(), source };
    let key = MasterKey::generate()?;
    let draft = draft_of(path);
    let linked = write_synced(&draft, &key).and_then(|()| fs::hard_link(&draft, path));
    let _absent_if_never_made = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => Ok(false),
        Err(error) => Err(failed(error)),
        Ok(()) => {
            File::open(parent(path)).and_then(|dir| dir.sync_all()).map_err(failed)?;
            Ok(true)
        }
    }
}

/// Called after the whole name of the key: what a power cut leaves of it is a key, too, and whoever leaves out
/// `facelatch.key*` from a backup leaves out both.
fn draft_of(path: &Path) -> PathBuf {
    path.with_added_extension(format!("draft.{}", std::process::id()))
}

fn write_synced(path: &Path, key: &MasterKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&to_hex(key)[..])?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn to_hex(key: &MasterKey) -> Zeroizing<[u8; HEX_DIGITS]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = Zeroizing::new([0; HEX_DIGITS]);
    for (pair, byte) in hex.chunks_exact_mut(2).zip(key.as_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    hex
}

fn from_hex(hex: &[u8]) -> Option<MasterKey> {
    let digit = |c: u8| char::from(c).to_digit(16);
    if hex.len() != HEX_DIGITS {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(MasterKey::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn places(dir: &Path) -> (KeyPlaces, PathBuf) {
        fs::create_dir_all(dir.join("keys")).unwrap();
        (KeyPlaces { credentials: None, file: dir.join("keys/master.key") }, dir.join("gallery.db"))
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_alone_with_a_notice() {
        let dir = tempfile::tempdir().unwrap();
        let (places, gallery) = places(dir.path());
        let made = places.find(&gallery).unwrap();
        let notice = made.notice.unwrap();
        assert!(
            notice.contains("master.key") && notice.contains("gallery.db") && !notice.contains("beside"),
            "{notice}"
        );
        assert_eq!(fs::metadata(&places.file).unwrap().mode() & 0o777, 0o600);
        let again = places.find(&gallery).unwrap();
        assert!(again.notice.is_none());
        assert_eq!(again.key.as_bytes(), made.key.as_bytes());
        assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn a_key_beside_its_gallery_is_made_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let (places, _) = places(dir.path());
        let notice = places.find(&dir.path().join("keys/gallery.db")).unwrap().notice.unwrap();
        assert!(notice.contains("beside the gallery"), "{notice}");
    }

    #[test]
    fn a_link_to_a_gallery_on_a_disk_that_is_not_mounted_is_a_gallery() {
        let dir = tempfile::tempdir().unwrap();
        let (places, gallery) = places(dir.path());
        std::os::unix::fs::symlink("/mnt/disk/gallery.db", &gallery).unwrap();
        let error = places.find(&gallery).unwrap_err().to_string();
        assert!(error.contains("is a link to /mnt/disk/gallery.db, where nothing is: mount"), "{error}");
        assert!(!places.file.exists());
    }

    #[test]
    fn a_credential_comes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut places, gallery) = places(dir.path());
        places.credentials = Some(dir.path().into());
        let from_file = places.find(&gallery).unwrap();
        assert_eq!(from_file.from, places.file);
        write(&dir.path().join(CREDENTIAL), &"ab".repeat(32), 0o440);
        let found = places.find(&gallery).unwrap();
        assert_eq!(found.key.as_bytes(), &[0xab; 32]);
    }

    #[test]
    fn a_service_that_was_handed_no_key_says_what_to_do_and_makes_none() {
        let dir = tempfile::tempdir().unwrap();
        let (mut places, gallery) = places(dir.path());
        places.credentials = Some(dir.path().into());
        write(&dir.path().join(CREDENTIAL), "missing", 0o440);
        let error = places.find(&gallery).unwrap_err().to_string();
        assert!(error.starts_with(SERVICE_KEY) && error.contains("can read none in"), "{error}");
        assert!(error.contains("master.key") && error.contains("systemctl restart facelatch"), "{error}");
        assert!(!places.file.exists());
        let usual = KeyError::NotHanded { file: SERVICE_KEY.into() }.to_string();
        assert!(!usual.contains("can read none in"), "{usual}");
        let unit = include_str!("../../systemd/facelatch.service");
        for line in
            ["SetCredential=facelatch.key:missing".to_owned(), format!("LoadCredential={CREDENTIAL}:{SERVICE_KEY}")]
        {
            assert!(unit.lines().any(|there| there == line), "the unit says so, too: {line}");
        }
    }

    #[test]
    fn a_service_that_was_handed_no_key_takes_the_one_that_it_can_read_where_the_configuration_says() {
        let dir = tempfile::tempdir().unwrap();
        let (mut places, gallery) = places(dir.path());
        places.credentials = Some(dir.path().into());
        write(&dir.path().join(CREDENTIAL), "missing", 0o440);
        write(&places.file, &"ab".repeat(32), 0o600);
        let found = places.find(&gallery).unwrap();
        assert_eq!((found.key.as_bytes(), &found.from), (&[0xab; 32], &places.file));
        write(&places.file, "half a key", 0o600);
        let error = places.find(&gallery).unwrap_err();
        assert!(matches!(error, KeyError::Content { .. }), "what is wrong with that one is told: {error}");
        // A link to itself can't be read by anybody.
        fs::remove_file(&places.file).unwrap();
        std::os::unix::fs::symlink(&places.file, &places.file).unwrap();
        let error = places.find(&gallery).unwrap_err();
        assert!(matches!(error, KeyError::NotHanded { .. }), "{error}");
    }

    #[test]
    fn no_key_is_made_for_a_gallery_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let (places, gallery) = places(dir.path());
        fs::write(&gallery, "").unwrap();
        let error = places.find(&gallery).unwrap_err();
        assert!(matches!(error, KeyError::Missing { .. }), "{error}");
        assert!(!places.file.exists());
    }

    #[test]
    fn a_sealed_key_is_named_with_how_to_use_it_and_no_other_is_made_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (places, gallery) = places(dir.path());
        write(&dir.path().join("keys/master.key.cred"), "sealed", 0o600);
        let error = places.find(&gallery).unwrap_err().to_string();
        let sealed = dir.path().join("keys/master.key.cred");
        assert!(
            error.contains(&format!("LoadCredentialEncrypted=facelatch.key:{} facelatch", sealed.display())),
            "{error}"
        );
        assert!(!places.file.exists());
        let by_systemd = KeyPlaces { credentials: Some(dir.path().into()), ..places };
        write(&dir.path().join(CREDENTIAL), &"ab".repeat(32), 0o400);
        assert_eq!(by_systemd.find(&gallery).unwrap().key.as_bytes(), &[0xab; 32]);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_with_the_command_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let (places, gallery) = places(dir.path());
        write(&places.file, &"ab".repeat(32), 0o640);
        let error = places.find(&gallery).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused_whatever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (places, gallery) = places(dir.path());
        for text in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"zz".repeat(32), &"é".repeat(32), &"a".repeat(9999)]
        {
            write(&places.file, text, 0o600);
            assert!(matches!(places.find(&gallery), Err(KeyError::Content { .. })), "{text}");
        }
        write(&places.file, &format!("{}\r\n", "AB".repeat(32)), 0o600);
        assert_eq!(places.find(&gallery).unwrap().key.as_bytes(), &[0xab; 32]);
        fs::remove_file(&places.file).unwrap();
        fs::create_dir(&places.file).unwrap();
        assert!(matches!(places.find(&gallery), Err(KeyError::NotAFile { .. })));
    }

    #[test]
    fn what_a_power_cut_leaves_of_a_key_in_the_making_is_called_after_it_and_is_in_no_backup() {
        for key in [SERVICE_KEY, "/var/lib/facelatch/facelatch.key"] {
            let draft = draft_of(Path::new(key));
            assert!(draft.to_str().unwrap().starts_with(key), "{}", draft.display());
            let left_out = format!("--exclude=\"{}*\"", key.trim_start_matches('/'));
            assert!(include_str!("../../docs/upkeep.md").contains(&left_out), "{left_out}");
        }
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let places = KeyPlaces { credentials: None, file: dir.path().join("nowhere/master.key") };
        let error = places.find(&dir.path().join("gallery.db")).unwrap_err().to_string();
        assert!(error.contains("nowhere/master.key") && error.contains("directory that exists"), "{error}");
    }
}
