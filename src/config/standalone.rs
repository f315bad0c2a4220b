//! `apisix.yaml` and `apisix.json`: the whole configuration as one file (APISIX-COMPAT §8.1). Reads no file: the text is handed in.

use super::Problem;
use super::documents::Documents;

/// Reads the text of an `apisix.yaml`, which must end with a `#END` line. Gives the documents and what was skipped and why, with
/// APISIX's texts. Every object's indexes and the revision are `revision` (APISIX takes the file's modification time).
///
/// # Errors
/// Why the whole file is refused, so that the configuration before it stays: no end flag, no YAML, not an object.
pub fn parse_yaml(
    _file_name: &str,
    _text: &str,
    _revision: u64,
    _env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Documents, Vec<Problem>), String> {
    todo!()
}

/// Reads the text of an `apisix.json`: the same without an end flag.
///
/// # Errors
/// As [`parse_yaml`].
pub fn parse_json(
    _text: &str,
    _revision: u64,
    _env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Documents, Vec<Problem>), String> {
    todo!()
}
