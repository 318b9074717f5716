//! Connection settings that every session of Rowcall has, unless the operator's URL says otherwise.

/// An unreachable server is an error after seconds and no hang; a peer that fell silent is noticed
/// within half a minute, also on the LISTEN session, which only waits. Local sockets ignore these.
const SETTINGS: [(&str, &str); 5] = [
    ("connect_timeout", "5"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "25000"),
];

/// The URL, or the `key=value` string, with the settings that it does not have itself.
pub(crate) fn with_settings(url: &str) -> String {
    let is_uri = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let mut full = url.to_owned();
    for (name, value) in SETTINGS {
        if url.contains(&format!("{name}=")) {
            continue;
        }
        if is_uri {
            full.push(if full.contains('?') { '&' } else { '?' });
        } else if !full.is_empty() {
            full.push(' ');
        }
        full.push_str(name);
        full.push('=');
        full.push_str(value);
    }
    full
}

#[cfg(test)]
mod tests {
    use super::with_settings;

    #[test]
    fn settings_are_added_to_either_form_and_the_operators_own_stay() {
        let uri = with_settings("postgres://u@h/d?connect_timeout=60");
        assert!(
            uri.starts_with("postgres://u@h/d?connect_timeout=60&keepalives_idle=10&"),
            "{uri}"
        );
        assert_eq!(uri.matches("connect_timeout").count(), 1);
        assert!(with_settings("postgres://u@h/d").contains("/d?connect_timeout=5&"));
        let words = with_settings("host=h dbname=d");
        assert!(words.starts_with("host=h dbname=d connect_timeout=5 keepalives_idle=10 "));
    }
}
