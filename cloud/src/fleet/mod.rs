//! The fleet's trust: the built-in certificate authority, enrolment tokens, and the endpoint that exchanges one
//! for a certificate.
//!
//! A token admits one vehicle once, within its time. The authority signs what the token says and nothing that a
//! request says about itself.

pub mod authority;
pub mod control;
pub mod enrolment;
pub mod listener;
pub mod server_identity;
pub mod tokens;

#[cfg(test)]
mod tests;
