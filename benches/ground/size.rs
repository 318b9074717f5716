//! What a benchmark can be told by variables.

/// The number that an environment variable says.
pub(crate) fn size(variable: &str, default: usize) -> usize {
    let set = std::env::var_os(variable);
    let set = set.and_then(|text| text.to_str()?.parse().ok());
    set.unwrap_or(default)
}
