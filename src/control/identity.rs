//! Which gateway this is, to whoever reads its records (`kafka::trace`): a random number, made at the first start and kept in `data_dir`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::key::keep;

/// The number's file, inside `data_dir`: 16 hex digits, as they stand in the records' headers.
pub const ID_FILE: &str = "gateway.id";

/// The number kept in `data_dir`, made now if there is none. Where it cannot be kept it holds for this start, and the warning says so: records
/// are provable all the same, only not as the same gateway's.
pub fn gateway_id(data_dir: &Path) -> (u64, Option<String>) {
    let path = data_dir.join(ID_FILE);
    let trouble = match fs::read_to_string(&path) {
        Ok(text) => match u64::from_str_radix(text.trim(), 16) {
            Ok(id) if text.trim().len() == 16 => return (id, None),
            _ => format!("{} does not hold 16 hex digits: delete it to get a new one", path.display()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = random();
            match keep(&path, &format!("{id:016x}")) {
                Ok(()) => return (id, None),
                Err(error) => {
                    format!("cannot keep the gateway's id in {} ({error}): is it writable?", path.display())
                }
            }
        }
        Err(error) => format!("cannot read the gateway's id in {}: {error}", path.display()),
    };
    (random(), Some(format!("{trouble}; until the next start this gateway goes by another id in its records")))
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return u64::from(std::process::id());
    }
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::store::scratch;

    #[test]
    fn it_is_made_once_and_differs_between_gateways() {
        let (one, two) = (scratch::Dir::new("id"), scratch::Dir::new("id"));
        let (first, warning) = gateway_id(one.path());
        assert_eq!(warning, None);
        assert_eq!(gateway_id(one.path()), (first, None));
        assert_ne!(gateway_id(two.path()).0, first);
        let path = one.path().join(ID_FILE);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{first:016x}\n"));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_or_directory_of_no_use_is_said_and_does_not_stop_the_start() {
        let dir = scratch::Dir::new("id");
        for broken in ["", "1f", "0123456789abcdeg", "00123456789abcdef0"] {
            fs::write(dir.path().join(ID_FILE), broken).unwrap();
            let (_, warning) = gateway_id(dir.path());
            assert!(warning.is_some_and(|text| text.contains("gateway.id") && text.contains("delete it")), "{broken}");
            assert_eq!(fs::read_to_string(dir.path().join(ID_FILE)).unwrap(), broken, "it is not ours to overwrite");
        }
        let (_, warning) = gateway_id(&dir.path().join("is not there"));
        assert!(warning.is_some_and(|text| text.contains("cannot keep")));
    }
}
