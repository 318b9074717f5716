//! Any bytes as an expression, over rows that hold what rows seldom do: nothing may panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = rowcall::expr::probe(bytes);
});
