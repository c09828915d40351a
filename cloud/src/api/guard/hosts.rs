//! The names this server answers to. Without this rule a web page could point its own name at 127.0.0.1 (DNS
//! rebinding) and read what only this machine may read.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::uri::Authority;

use super::super::settings::ApiSettings;

pub(crate) struct HostRule {
    /// In lower case, without port.
    configured: Vec<String>,
}

impl HostRule {
    pub(crate) fn new(settings: &ApiSettings) -> Self {
        let public =
            settings.public_url.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
        let public = public.and_then(|rest| rest.trim_end_matches('/').parse::<Authority>().ok());
        let names = settings.hosts.iter().map(String::as_str).chain(public.as_ref().map(Authority::host));
        Self { configured: names.map(str::to_ascii_lowercase).collect() }
    }

    /// On loopback: loopback names and configured ones. On another address: any name when none is configured,
    /// and otherwise also plain addresses, which nobody can rebind.
    pub(crate) fn allows(&self, host: &str, loopback: bool) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let is_loopback_name = host.eq_ignore_ascii_case("localhost") || address.is_some_and(is_loopback);
        let is_configured = self.configured.iter().any(|name| name.eq_ignore_ascii_case(host));
        if is_loopback_name || is_configured {
            return true;
        }
        !loopback && !host.is_empty() && (self.configured.is_empty() || address.is_some())
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(hosts: &[&str], public_url: Option<&str>) -> HostRule {
        HostRule::new(&ApiSettings {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            public_url: public_url.map(ToOwned::to_owned),
            ..ApiSettings::default()
        })
    }

    #[test]
    fn on_loopback_only_loopback_and_configured_names_are_answered() {
        let rule = rule(&["Fleet.Example.com"], Some("https://map.example.com:8443/"));
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "fleet.example.com",
            "map.example.com",
        ] {
            assert!(rule.allows(host, true), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", ""] {
            assert!(!rule.allows(host, true), "{host}");
        }
    }

    #[test]
    fn on_a_public_address_configured_names_exclude_other_names_but_not_plain_addresses() {
        assert!(rule(&[], None).allows("anything.example", false));
        let configured = rule(&["fleet.example.com"], None);
        assert!(configured.allows("fleet.example.com", false));
        assert!(configured.allows("192.0.2.7", false));
        assert!(!configured.allows("evil.example", false));
    }
}
