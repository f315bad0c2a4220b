//! Times as text.
