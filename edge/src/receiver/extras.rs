//! What a receiver says beside the fix itself.

use avl_shared::fix::{Decimal, FixMode};
use serde::{Deserialize, Serialize, Serializer};

/// What stands beside a fix. It is not part of the fix, which is what goes on the air.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extras {
    /// `None` when the receiver prints no GSA.
    #[serde(serialize_with = "name")]
    pub mode: Option<FixMode>,
    #[serde(serialize_with = "number")]
    pub pdop: Option<Decimal>,
    #[serde(serialize_with = "number")]
    pub vdop: Option<Decimal>,
    /// Satellites in view, heard or not, as the epoch before this one printed them (a receiver prints them last).
    pub satellites_in_view: Option<u8>,
}

/// What the receiver's supervisor says of the antenna's supply current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Antenna {
    Ok,
    /// No current flows: not plugged in, a broken cable, or a passive antenna.
    Open,
    Short,
}

impl Antenna {
    /// Three dialects are known: `$G?TXT,…,ANTSTATUS=OK` (u-blox), `$G?TXT,…,ANTENNA OPEN` (CASIC, Unicore and modules
    /// built on them) and `$PGTOP,11,3` (MediaTek: 1 short, 2 internal antenna, 3 external antenna).
    pub(super) fn of(fields: &[&str]) -> Option<Self> {
        match *fields {
            ["PGTOP", "11", "2" | "3"] => Some(Self::Ok),
            ["PGTOP", "11", "1"] => Some(Self::Short),
            [address, .., text] if address.len() == 5 && address.ends_with("TXT") => {
                let word = text.strip_prefix("ANTSTATUS=").or_else(|| text.strip_prefix("ANTENNA "))?;
                match word.trim_end() {
                    "OK" => Some(Self::Ok),
                    "OPEN" => Some(Self::Open),
                    "SHORT" => Some(Self::Short),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[allow(clippy::ref_option)] // the signature that serde asks for
fn number<S: Serializer>(value: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(Decimal::to_f64).serialize(serializer)
}

#[allow(clippy::ref_option)] // the signature that serde asks for
fn name<S: Serializer>(mode: &Option<FixMode>, serializer: S) -> Result<S::Ok, S::Error> {
    mode.map(FixMode::name).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_antenna_is_understood_in_three_dialects() {
        let of = |body: &str| Antenna::of(&body.split(',').collect::<Vec<_>>());
        assert_eq!(of("GNTXT,01,01,02,ANTSTATUS=OK"), Some(Antenna::Ok));
        assert_eq!(of("GPTXT,01,01,02,ANTSTATUS=OPEN"), Some(Antenna::Open));
        assert_eq!(of("GPTXT,01,01,02,ANTSTATUS=SHORT"), Some(Antenna::Short));
        assert_eq!(of("GPTXT,01,01,01,ANTENNA OPEN"), Some(Antenna::Open));
        assert_eq!(of("PGTOP,11,3"), Some(Antenna::Ok));
        for other in
            ["GPTXT,01,01,02,ANTSTATUS=INIT", "GPTXT,01,01,02,u-blox", "PGTOP,11,9", "TXT", "PMTK001"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn modes_and_numbers_are_shown_as_people_write_them() {
        let extras = Extras {
            mode: Some(FixMode::ThreeD),
            pdop: Some(Decimal::new(148, 2)),
            vdop: None,
            satellites_in_view: Some(12),
        };
        let shown = r#"{"mode":"3d","pdop":1.48,"vdop":null,"satellites_in_view":12}"#;
        assert_eq!(serde_json::to_string(&extras).unwrap(), shown);
    }
}
