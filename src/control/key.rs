//! The admin key that is made when the file names none: made once, kept beside the store, never logged.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Letters of a made key (APISIX-COMPAT §5.1: 32 random letters).
pub const KEY_LETTERS: usize = 32;
/// The key's file, inside `data_dir`.
pub const KEY_FILE: &str = "admin.key";

/// A key of our own making and where it lies.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnKey {
    /// The key itself. Not for logs.
    pub key: String,
    /// Its file, mode 0600.
    pub path: PathBuf,
}

impl std::fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnKey").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The key kept in `data_dir`, made now if there is none. Errors name the file.
pub fn own_key(data_dir: &Path) -> Result<OwnKey, String> {
    let path = data_dir.join(KEY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= KEY_LETTERS => Ok(OwnKey { key: text.trim().to_owned(), path }),
        Ok(_) => {
            Err(format!("{} holds no admin key of {KEY_LETTERS} letters: delete it to get a new one", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make(path),
        Err(error) => Err(format!("cannot read the admin key in {}: {error}", path.display())),
    }
}

fn make(path: PathBuf) -> Result<OwnKey, String> {
    let key = random_letters()?;
    match keep(&path, &key) {
        Ok(()) => Ok(OwnKey { key, path }),
        Err(error) => Err(format!("cannot keep the admin key in {}: {error}", path.display())),
    }
}

/// Writes a line to a file of mode 0600: beside its place and then moved there, so that a kill leaves all of it or nothing.
pub(super) fn keep(path: &Path, line: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    fs::remove_file(&new)
        .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new))
        .and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path))
}

fn random_letters() -> Result<String, String> {
    const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut key = String::with_capacity(KEY_LETTERS);
    while key.len() < KEY_LETTERS {
        let mut bytes = [0_u8; 2 * KEY_LETTERS];
        getrandom::fill(&mut bytes).map_err(|error| format!("no randomness for an admin key: {error}"))?;
        // Bytes from 208 on would make the first letters more likely than the others.
        let fair = bytes.iter().filter(|byte| **byte < 208).map(|byte| char::from(LETTERS[usize::from(byte % 52)]));
        key.extend(fair.take(KEY_LETTERS - key.len()));
    }
    Ok(key)
}

/// True if both are the same; takes equally long wherever they differ. Only the length can be learnt from the time.
pub fn same_key(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    left.len() == right.len()
        && std::hint::black_box(left.iter().zip(right).fold(0_u8, |sum, (a, b)| std::hint::black_box(sum | (a ^ b))))
            == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::store::scratch;

    #[test]
    fn a_key_is_made_once_and_only_the_owner_may_read_it() {
        let dir = scratch::Dir::new("key");
        let first = own_key(dir.path()).unwrap();
        assert_eq!(first.key.len(), KEY_LETTERS);
        assert!(first.key.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(own_key(dir.path()).unwrap().key, first.key);
        assert!(!format!("{first:?}").contains(&first.key));
    }

    #[test]
    fn two_gateways_get_two_keys() {
        let (one, two) = (scratch::Dir::new("key"), scratch::Dir::new("key"));
        assert_ne!(own_key(one.path()).unwrap().key, own_key(two.path()).unwrap().key);
    }

    #[test]
    fn a_cut_key_file_is_an_error_and_never_an_empty_key() {
        let dir = scratch::Dir::new("key");
        fs::write(dir.path().join(KEY_FILE), "\n").unwrap();
        assert!(own_key(dir.path()).unwrap_err().contains(KEY_FILE));
    }

    #[test]
    fn keys_compare_by_every_byte() {
        assert!(same_key("abc", "abc"));
        assert!(!same_key("abc", "abd"));
        assert!(!same_key("abc", "ab"));
        assert!(!same_key("", "a"));
    }
}
