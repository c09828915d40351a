//! Fleet and vehicle ids, and how a certificate names them.
//!
//! A vehicle's certificate carries `avl://{fleet}/{vehicle}` as its URI subject alternative name, which is
//! what the cloud reads, and `{fleet}/{vehicle}` as its common name, which is what MQTT brokers match their
//! topic rules against. Ids are short enough for that common name to fit the 64 characters X.520 gives it.

use std::fmt;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fix::UtcMillis;

const URI_SCHEME: &str = "avl://";
const MAX_FLEET_CHARS: usize = 24;
const MAX_VEHICLE_CHARS: usize = 39;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "{kind} id {value:?} is not 1 to {max} characters of a-z, A-Z, 0-9, '.', '_' and '-', starting with a letter or digit"
    )]
    BadId { kind: &'static str, value: String, max: usize },
    #[error("{0:?} does not name a vehicle: expected FLEET/VEHICLE")]
    BadKey(String),
    #[error("certificate cannot be parsed ({0}): enrol the vehicle again")]
    BadCertificate(String),
    #[error(
        "certificate names no vehicle (no URI 'avl://fleet/vehicle' among its alternative names): enrol the vehicle again"
    )]
    NoVehicle,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = text.as_bytes();
                let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
                let valid = (1..=$max).contains(&bytes.len())
                    && bytes[0].is_ascii_alphanumeric()
                    && bytes.iter().all(allowed);
                if valid {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdentityError::BadId { kind: $kind, value: text.chars().take(80).collect(), max: $max })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type!(
    /// A fleet: the tenant that vehicles, users and quotas belong to.
    FleetId,
    "fleet",
    MAX_FLEET_CHARS
);
id_type!(
    /// A vehicle, unique within its fleet.
    VehicleId,
    "vehicle",
    MAX_VEHICLE_CHARS
);

/// A vehicle among all fleets, written `fleet/vehicle`: the Kafka key and the certificate's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VehicleKey {
    pub fleet: FleetId,
    pub vehicle: VehicleId,
}

impl VehicleKey {
    /// The URI that a certificate carries.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{URI_SCHEME}{self}")
    }

    /// Reads the vehicle's name out of its certificate. The chain must have been verified before.
    ///
    /// # Errors
    /// When the DER cannot be parsed or holds no vehicle URI.
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| IdentityError::BadCertificate(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| IdentityError::BadCertificate(error.to_string()))?
            .ok_or(IdentityError::NoVehicle)?;
        let uri = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(URI_SCHEME),
            _ => None,
        });
        uri.ok_or(IdentityError::NoVehicle)?.parse()
    }
}

/// When a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: UtcMillis,
    pub not_after: UtcMillis,
}

impl Validity {
    /// Reads it out of a certificate's DER.
    ///
    /// # Errors
    /// When the DER cannot be parsed.
    pub fn of(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| IdentityError::BadCertificate(error.to_string()))?;
        let validity = certificate.validity();
        Ok(Self {
            not_before: validity.not_before.timestamp() * 1000,
            not_after: validity.not_after.timestamp() * 1000,
        })
    }
}

impl fmt::Display for VehicleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.fleet, self.vehicle)
    }
}

impl FromStr for VehicleKey {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (fleet, vehicle) =
            text.split_once('/').ok_or_else(|| IdentityError::BadKey(text.chars().take(80).collect()))?;
        Ok(Self { fleet: fleet.parse()?, vehicle: vehicle.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_in_topics_paths_and_common_names() {
        for good in ["acme", "VIN-1HGCM82633A004352", "a.b_c-d", "7"] {
            assert!(good.parse::<VehicleId>().is_ok(), "{good}");
        }
        for bad in ["", "+", "#", "a/b", "a b", "ñ", "-a", "..", &"x".repeat(40)] {
            assert!(bad.parse::<VehicleId>().is_err(), "{bad}");
        }
        let longest = format!("{}/{}", "f".repeat(MAX_FLEET_CHARS), "v".repeat(MAX_VEHICLE_CHARS));
        assert_eq!(longest.parse::<VehicleKey>().unwrap().to_string().len(), 64);
    }

    #[test]
    fn a_certificate_names_its_vehicle() {
        let key: VehicleKey = "acme/truck-7".parse().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(key.uri().as_str().try_into().unwrap())];
        let signer = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&signer).unwrap();
        assert_eq!(VehicleKey::from_certificate(certificate.der()), Ok(key));

        let nameless = rcgen::CertificateParams::default().self_signed(&signer).unwrap();
        assert_eq!(VehicleKey::from_certificate(nameless.der()), Err(IdentityError::NoVehicle));
        assert!(matches!(VehicleKey::from_certificate(b"junk"), Err(IdentityError::BadCertificate(_))));
    }
}
