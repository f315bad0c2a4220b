//! Whether an object may be stored, in APISIX's words (APISIX-COMPAT §1.2, §5.4, §5.5, §6.1, §7.1). Every `Err` is the `error_msg`
//! of a 400.

use serde_json::Value;

use super::documents::Documents;
use super::resource::Kind;

/// Refuses what only the server may set in a PUT or POST: `the property is forbidden:  create_time`. Not for PATCH.
///
/// # Errors
/// The 400's `error_msg`.
pub fn forbid_times(_value: &Value) -> Result<(), String> {
    todo!()
}

/// Checks an object as it is to be stored, on its own: schema, plugins, expressions, and what this version does not do yet.
/// `value.id` may be missing (then `id` is checked in its place) and may carry times. References are [`check_references`]'s.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check(_kind: Kind, _id: &str, _value: &Value) -> Result<(), String> {
    todo!()
}

/// `POST /schema/validate/{kind}`: the resource's JSON schema alone, without a prefix; a broken plugin passes.
///
/// # Errors
/// The 400's `error_msg`.
pub fn check_schema_only(_kind: Kind, _value: &Value) -> Result<(), String> {
    todo!()
}

/// Checks that what the object names by id is there, and that a global rule's plugins are in no other (APISIX-COMPAT §5.5).
///
/// # Errors
/// The 400's `error_msg`.
pub fn check_references(_documents: &Documents, _kind: Kind, _id: &str, _value: &Value) -> Result<(), String> {
    todo!()
}

/// Checks that nothing names the object any more; skipped for `?force=true`.
///
/// # Errors
/// The 400's `error_msg`: `can not delete this upstream, route [1] is still using it now`.
pub fn check_delete(_documents: &Documents, _kind: Kind, _id: &str) -> Result<(), String> {
    todo!()
}
