//! How a gateway gets its certificate: the token an operator hands out, and the one HTTPS exchange it is for.
//!
//! The token carries a secret, which admits one vehicle once, and the SHA-256 fingerprint of the fleet's CA
//! certificate, so that the gateway knows whom to trust before it has ever met the cloud.
//! Exchange: `POST {url}/enrol/v1` with [`EnrolRequest`] as JSON, answered by [`EnrolResponse`], or by a
//! problem document (RFC 9457) whose `detail` names cause and cure.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

pub const PATH: &str = "/enrol/v1";
pub const SECRET_BYTES: usize = 16;
pub const FINGERPRINT_BYTES: usize = 32;
const PREFIX: &str = "avl1.";

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let mut bytes = [0; FINGERPRINT_BYTES];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// What an operator gives to an installer. Its `Debug` hides the secret; only `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    pub secret: [u8; SECRET_BYTES],
    pub ca: Fingerprint,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an enrolment token: expected avl1. and 64 characters; copy it again, whole, from 'avl-cloud token'"
)]
pub struct BadToken;

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; SECRET_BYTES + FINGERPRINT_BYTES];
        bytes[..SECRET_BYTES].copy_from_slice(&self.secret);
        bytes[SECRET_BYTES..].copy_from_slice(&self.ca.0);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentToken").field("ca", &self.ca).finish_non_exhaustive()
    }
}

impl FromStr for EnrolmentToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| BadToken)?;
        let (secret, ca) = bytes.split_at_checked(SECRET_BYTES).ok_or(BadToken)?;
        Ok(Self {
            secret: secret.try_into().map_err(|_| BadToken)?,
            ca: Fingerprint(ca.try_into().map_err(|_| BadToken)?),
        })
    }
}

/// Where to enrol, and with which token: the text of a QR code or of a file on a stick,
/// `avl-enrol:?url=https%3A%2F%2Fgateway.example.com%3A7443&token=avl1.…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub url: String,
    pub token: EnrolmentToken,
}

const INVITATION: &str = "avl-enrol:?";
/// All that has a meaning in a query or may be mangled on the way; letters, digits and `-._~` stay (RFC 3986).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInvitation {
    #[error("not an invitation: expected avl-enrol:?url=…&token=…, as 'avl-cloud token --text' prints it")]
    Form,
    #[error("the invitation has no {0}: copy it again, whole, from 'avl-cloud token --text'")]
    Missing(&'static str),
    #[error(transparent)]
    Token(#[from] BadToken),
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INVITATION}url={}&token={}", utf8_percent_encode(&self.url, ENCODED), self.token)
    }
}

impl FromStr for Invitation {
    type Err = BadInvitation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let query = text.trim().strip_prefix(INVITATION).ok_or(BadInvitation::Form)?;
        let field = |name: &'static str| {
            let raw = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            let value = raw.filter(|raw| !raw.is_empty()).ok_or(BadInvitation::Missing(name))?;
            let value = percent_decode_str(value).decode_utf8().map_err(|_| BadInvitation::Form)?;
            Ok::<_, BadInvitation>(value.into_owned())
        };
        Ok(Self { url: field("url")?, token: field("token")?.parse()? })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The whole token, as it was handed out.
    pub token: String,
    /// PKCS#10, PEM. Its subject is ignored: the token decides which vehicle this is.
    pub csr: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolResponse {
    /// The vehicle's certificate, PEM, leaf first.
    pub certificate: String,
    /// The CA that signed it and the cloud's own certificates, PEM.
    pub ca: String,
    pub fleet: String,
    pub vehicle: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_copied() {
        let token = EnrolmentToken { secret: [7; SECRET_BYTES], ca: Fingerprint::of(b"ca") };
        assert_eq!(format!(" {token}\n").parse::<EnrolmentToken>(), Ok(token.clone()));
        assert_eq!(token.to_string().len(), PREFIX.len() + 64);
    }

    #[test]
    fn a_damaged_token_says_so() {
        let whole = EnrolmentToken { secret: [7; SECRET_BYTES], ca: Fingerprint::of(b"ca") }.to_string();
        for bad in ["", "avl1.", &whole[1..], &whole[..whole.len() - 4], "avl1.!!!"] {
            assert_eq!(bad.parse::<EnrolmentToken>(), Err(BadToken), "{bad}");
        }
    }

    #[test]
    fn an_invitation_survives_a_qr_code_and_says_what_it_lacks() {
        let token = EnrolmentToken { secret: [7; SECRET_BYTES], ca: Fingerprint::of(b"ca") };
        let url = "https://[2001:db8::1]:7443/a b&c=d".to_owned();
        let invitation = Invitation { url, token: token.clone() };
        let text = invitation.to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        assert_eq!(format!("{text}\r\n").parse(), Ok(invitation));
        let parse = |text: &str| text.parse::<Invitation>().unwrap_err();
        assert_eq!(parse("https://a.example"), BadInvitation::Form);
        assert_eq!(parse(&format!("avl-enrol:?token={token}")), BadInvitation::Missing("url"));
        assert_eq!(parse("avl-enrol:?url=x&token="), BadInvitation::Missing("token"));
        assert_eq!(parse("avl-enrol:?url=x&token=avl1.x"), BadInvitation::Token(BadToken));
        assert_eq!(parse("avl-enrol:?url=%ff&token=x"), BadInvitation::Form);
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let token = EnrolmentToken { secret: [0xab; SECRET_BYTES], ca: Fingerprint::of(b"ca") };
        let shown = format!("{token:?}");
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    }
}
