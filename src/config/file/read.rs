//! todo
use super::*;
pub(super) fn read(
    _text: &str,
    _env: &dyn Fn(&str) -> Option<String>,
) -> Result<(FileConfig, Vec<String>), Vec<Problem>> {
    todo!()
}
