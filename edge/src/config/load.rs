//! Reading and checking a configuration.

use std::fs;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};

use super::Config;
use super::error::ConfigError;
use super::units::ByteSize;
use crate::uplink::interfaces;
use crate::uplink::mqtt::MqttConfig;

/// Environment variables with this prefix override keys: `AVL_EDGE__UPLINK__LATENCY=60s`.
pub const ENV_PREFIX: &str = "AVL_EDGE__";

/// Where the package puts the configuration.
pub const DEFAULT_FILE: &str = "/etc/avl-edge.toml";

/// Some hours of fixes at 1 Hz; less than this is a typing error.
const MIN_BUFFER: ByteSize = ByteSize(64 << 10);

/// # Errors
/// When the file cannot be read, a key is unknown, missing or unusable. The message names file, key, cause and cure.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    load_with(file, &[])
}

/// As [`load`], with TOML texts laid over the file, each over the one before it. The environment still wins.
///
/// # Errors
/// As [`load`].
pub fn load_with(file: &Path, layers: &[&str]) -> Result<Config, ConfigError> {
    let text =
        fs::read_to_string(file).map_err(|cause| ConfigError::Unreadable { path: file.to_owned(), cause })?;
    let own = Figment::from(Toml::string(&text));
    let config: Config = layers
        .iter()
        .fold(own, |under, layer| under.merge(Toml::string(layer)))
        .merge(Env::prefixed(ENV_PREFIX).split("__"))
        .extract()
        .map_err(|error| ConfigError::from_figment(file, &error).located(file, &text))?;
    check(file, &config).map_err(|error| error.located(file, &text))?;
    Ok(config)
}

fn check(file: &Path, config: &Config) -> Result<(), ConfigError> {
    if let Err((key, cause, cure)) = config.control.validate().and_then(|()| config.update.validate()) {
        return Err(ConfigError::value(file, key, &cause, cure));
    }
    if let Err(error) = config.source.validate() {
        return Err(ConfigError::value(file, "source", &error, "correct it and start again"));
    }
    let sections = [
        ("sensors", config.sensors.validate().map_err(|error| error.to_string())),
        ("report", config.report.validate().map_err(|error| error.to_string())),
        ("history", config.history.validate().map_err(|error| error.to_string())),
    ];
    for (section, checked) in sections {
        if let Err(error) = checked {
            return Err(ConfigError::value(file, section, &error, "correct it and start again"));
        }
    }
    if config.uplink.quic.host_and_port().is_none() {
        let cause = format!("{:?} is not HOST:PORT", config.uplink.quic.address);
        let cure = "write it as in \"gateway.example.com:7443\" or \"[2001:db8::1]:7443\"";
        return Err(ConfigError::value(file, "uplink.quic.address", &cause, cure));
    }
    if let Some(Err(bad)) = config.uplink.mqtt.as_ref().map(MqttConfig::check) {
        return Err(ConfigError::value(file, bad.key, &bad.cause, bad.cure));
    }
    if let Err((key, cause, cure)) = config.buffer.validate() {
        return Err(ConfigError::value(file, key, &cause, cure));
    }
    if let Err(error) = interfaces::validate(&config.uplink.interfaces) {
        return Err(ConfigError::value(file, "uplink.interfaces", &error, "correct it and start again"));
    }
    if let Err(error) = config.uplink.budget.validate() {
        let cure = "choose the day on which the tariff counts anew";
        return Err(ConfigError::value(file, "uplink.budget.reset_day", &error, cure));
    }
    if let Some(url) = &config.identity.renew_url
        && let Err(error) = crate::https::Target::parse(url)
    {
        return Err(ConfigError::value(file, "identity.renew_url", &error, "correct it and start again"));
    }
    if let Err((key, cause, cure)) = config.health.validate() {
        return Err(ConfigError::value(file, key, &cause, cure));
    }
    if let Err(cause) = config.log.validate() {
        let cure = "write info, debug, or a filter such as \"info,avl_edge::uplink=debug\"";
        return Err(ConfigError::value(file, "log.level", &cause, cure));
    }
    if config.buffer.max_bytes < MIN_BUFFER {
        let cause =
            format!("{} holds too little to bridge a night without coverage", config.buffer.max_bytes);
        return Err(ConfigError::value(
            file,
            "buffer.max_bytes",
            &cause,
            &format!("give at least {MIN_BUFFER}"),
        ));
    }
    let positive: [(&str, Duration); 4] = [
        ("buffer.durability", config.buffer.durability),
        ("uplink.ack_interval", config.uplink.ack_interval),
        ("uplink.ack_timeout", config.uplink.ack_timeout),
        ("uplink.reconnect_max", config.uplink.reconnect_max),
    ];
    match positive.iter().find(|(_, value)| value.is_zero()) {
        Some((key, _)) => {
            Err(ConfigError::value(file, key, &"0 s cannot work", "give a time such as \"5s\""))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UplinkConfig;
    use crate::policy::Profile;
    use std::io::Write;

    const LEAST: &str =
        "[source]\nkind = 'replay'\npath = 'drive.nmea'\n[uplink.quic]\naddress = 'localhost:7443'\n";

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::Builder::new().suffix("gateway.toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn source_and_address_are_enough() {
        let config = read(LEAST).unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/avl-edge"));
        assert_eq!(config.uplink.latency, Duration::from_secs(25));
        assert_eq!(config.buffer.max_bytes, ByteSize(256 << 20));
        assert_eq!(config.uplink.quic.certificate_name(), Some("localhost"));
    }

    #[test]
    fn the_example_is_valid_and_shows_every_default() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/avl-edge.example.toml");
        let shown = load(Path::new(example)).unwrap();
        let least = read(LEAST).unwrap();
        assert_eq!(shown.buffer, least.buffer);
        assert_eq!(shown.clock, least.clock);
        assert_eq!(shown.identity, least.identity);
        assert_eq!(shown.state_dir, least.state_dir);
        assert_eq!((&shown.health, &shown.log), (&least.health, &least.log));
        let quic = shown.uplink.quic.clone();
        for profile in [Profile::Moving, Profile::Stopped, Profile::Parked, Profile::Night] {
            let terms = |config: &Config| config.report.terms(profile, config.uplink.latency);
            assert_eq!(terms(&shown), terms(&least));
        }
        assert!(!shown.report.holds_back() && shown.report.columns == least.report.columns);
        assert_eq!((shown.history, &shown.sensors), (least.history, &least.sensors));
        assert_eq!(shown.uplink, UplinkConfig { quic, ..least.uplink });
    }

    /// The text of each error is what the installer has to work with: key, cause, cure and file.
    #[test]
    fn errors_name_key_cause_cure_and_file() {
        let serial = "[source]\nkind = 'serial'\npath = 'x'\n";
        let link = "[uplink.quic]\naddress = 'a:1'\n";
        let cases: [(String, &[&str]); 11] = [
            (format!("[source]\nkind = 'tape'\npath = 'x'\n{link}"), &["'source.kind'", "tape", "replay"]),
            (format!("{serial}buad = 9600\n{link}"), &["'source.buad'", "unknown", "baud"]),
            (serial.to_owned(), &["'uplink'", "missing", "add it"]),
            (format!("{serial}[uplink]\nlatency = '25 bananas'\n{link}"), &["'uplink.latency'"]),
            (
                format!("{serial}[uplink.quic]\naddress = 'nowhere'"),
                &["'uplink.quic.address'", "nowhere", "HOST:PORT", "7443"],
            ),
            (
                format!("{serial}[buffer]\nmax_bytes = '12 parsecs'\n{link}"),
                &["'buffer.max_bytes'", "12 parsecs", "MiB"],
            ),
            (format!("{serial}[buffer]\nmax_bytes = 10\n{link}"), &["'buffer.max_bytes'", "64 KiB"]),
            (format!("{serial}[buffer]\ndurability = '0s'\n{link}"), &["'buffer.durability'", "0 s"]),
            (format!("{serial}[buffer]\nthin_error_m = -1.0\n{link}"), &["'buffer.thin_error_m'", "metres"]),
            (
                format!("{serial}[buffer]\nflash_endurance = 0.0\n{link}"),
                &["'buffer.flash_endurance'", "TBW"],
            ),
            ("[source\n".to_owned(), &["syntax", "line"]),
        ];
        let located = read(&format!("{serial}[buffer]\nmax_bytes = 10\n{link}")).unwrap_err();
        assert!(located.contains("gateway.toml:5: key 'buffer.max_bytes'"), "{located}");
        let located = read(&format!("{serial}buad = 9600\n{link}")).unwrap_err();
        assert!(located.contains("gateway.toml:4: key 'source.buad'"), "{located}");
        for (text, expected) in cases {
            let error = read(&text).unwrap_err();
            for word in expected.iter().chain(&["gateway.toml"]) {
                assert!(error.contains(word), "{word:?} is not in {error:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nowhere/avl.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/avl.toml") && error.contains("--config"), "{error}");
    }
}
