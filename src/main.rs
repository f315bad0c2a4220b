//! The command line and nothing else.

fn main() {
    println!("tollgate {} ({})", env!("CARGO_PKG_VERSION"), env!("TOLLGATE_COMMIT"));
}
