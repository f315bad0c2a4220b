//! JSON text straight into a bounded writer.

use crate::kafka::batch::Out;

/// Writes `text` as a JSON string with its quotes.
pub fn string(_text: &[u8], _out: &mut Out<'_>) {
    todo!()
}
