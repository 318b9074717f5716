//! Rowcall.
fn main() {}
