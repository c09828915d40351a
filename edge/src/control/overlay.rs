//! What a remote configuration may say: which keys it sets, and whether this vehicle's own file allows each of them.

use figment::Provider;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::config::NEVER_REMOTE;
use avl_shared::link::MAX_CONFIGURATION_BYTES;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OverlayError {
    #[error(
        "the configuration has {0} bytes, the limit is {MAX_CONFIGURATION_BYTES}: send only the keys that differ"
    )]
    TooLong(usize),
    #[error("it is not TOML ({0}): correct it and send it again")]
    Syntax(String),
    #[error("key '{0}' is never set from afar: change it in the gateway's own file")]
    Never(String),
    #[error(
        "key '{0}' may not be set from afar here: add it to control.remote_keys in the gateway's own file"
    )]
    NotAllowed(String),
}

/// Refuses the first key that `allowed` does not cover.
pub(super) fn check_keys(toml: &str, allowed: &[String]) -> Result<(), OverlayError> {
    for key in keys(toml)? {
        let first = key.split('.').next().unwrap_or_default();
        if NEVER_REMOTE.contains(&first) {
            return Err(OverlayError::Never(key));
        }
        if !allowed.iter().any(|pattern| covers(pattern, &key)) {
            return Err(OverlayError::NotAllowed(key));
        }
    }
    Ok(())
}

/// Every key that has a value, as `section.key`.
fn keys(toml: &str) -> Result<Vec<String>, OverlayError> {
    if toml.len() > MAX_CONFIGURATION_BYTES {
        return Err(OverlayError::TooLong(toml.len()));
    }
    let data = Toml::string(toml).data().map_err(|error| OverlayError::Syntax(error.to_string()))?;
    let mut found = Vec::new();
    for dict in data.values() {
        collect("", dict, &mut found);
    }
    Ok(found)
}

fn collect(prefix: &str, dict: &Dict, found: &mut Vec<String>) {
    for (name, value) in dict {
        // A quoted key may hold a dot; as written it is one name, and no pattern means it.
        let name = if name.contains('.') { format!("{name:?}") } else { name.clone() };
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Dict(_, below) if !below.is_empty() => collect(&key, below, found),
            _ => found.push(key),
        }
    }
}

/// `section.*` covers everything below the section; anything else covers itself.
fn covers(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(section) => key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')),
        None => pattern == key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allowed() -> Vec<String> {
        ["report.*", "uplink.latency"].map(str::to_owned).to_vec()
    }

    #[test]
    fn keys_are_allowed_one_by_one_or_by_their_section() {
        let check = |toml: &str| check_keys(toml, &allowed());
        assert_eq!(check(""), Ok(()));
        assert_eq!(
            check("[uplink]\nlatency = '60s'\n[report]\nprofile = 'x'\n[report.moving]\ninterval = '1s'"),
            Ok(())
        );
        assert_eq!(check("uplink.latency = '60s'"), Ok(()));
        let refused = |key: &str| Err(OverlayError::NotAllowed(key.to_owned()));
        assert_eq!(
            check("[uplink]\nlatency = '60s'\n[uplink.quic]\naddress = 'a:1'"),
            refused("uplink.quic.address")
        );
        assert_eq!(check("report = 7"), refused("report"));
        assert_eq!(check("reporter = 7"), refused("reporter"));
        assert_eq!(check("'report.x' = 7"), refused("\"report.x\""));
        assert_eq!(
            check("[uplink]"),
            refused("uplink"),
            "an empty table replaces nothing, but it is not ours to say"
        );
    }

    #[test]
    fn what_guards_the_vehicle_is_never_set_from_afar() {
        let everything = ["control.*", "update.*", "state_dir"].map(str::to_owned);
        for toml in ["state_dir = '/x'", "[control]\nallow = ['restart']", "[update]\npublic_key = 'x'"] {
            assert!(matches!(check_keys(toml, &everything), Err(OverlayError::Never(_))), "{toml}");
        }
    }

    #[test]
    fn what_is_no_toml_or_too_long_is_refused() {
        assert!(matches!(check_keys("[uplink", &allowed()), Err(OverlayError::Syntax(_))));
        let long = format!("# {}", "x".repeat(MAX_CONFIGURATION_BYTES));
        assert!(matches!(check_keys(&long, &allowed()), Err(OverlayError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in ".{0,200}") {
            let _ = check_keys(&text, &allowed());
        }
    }
}
