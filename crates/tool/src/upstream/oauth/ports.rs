//! What an operator says of tokens, and who keeps those that take the place of the operator's own.

use execgate_model::Digest;
use zeroize::Zeroizing;

use super::super::pins::PinError;
use super::super::words::ServerName;
use crate::action::Secret;

/// How a client says who it is where tokens are had (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the header `Authorization`.
    Basic,
    /// In the body.
    Post,
}

/// How tokens for a server are had.
#[derive(Debug, Clone)]
pub struct OauthSpec {
    /// Who asks.
    pub client_id: String,
    /// By what it is known; none for a public client, which has a refresh token.
    pub client_secret: Option<Secret>,
    /// What stands for somebody who has agreed; without it the client speaks for itself.
    pub refresh_token: Option<Secret>,
    /// Where tokens are had. Without it the server is asked, and the issuer.
    pub token_url: Option<String>,
    /// Whose tokens: RFC 8414, 2. Without it only an issuer of the server's own origin counts.
    pub issuer: Option<String>,
    /// What is asked for; the issuer's choice without it.
    pub scope: Option<String>,
    /// How the client says who it is; without it what the issuer takes, and `Basic` where that says nothing.
    pub auth: Option<ClientAuth>,
}

/// Keeps the refresh tokens that an issuer has given in the place of the operator's (RFC 6749, 6): the one before is worth
/// nothing any more.
pub trait TokenShelf: Send + Sync {
    /// What stands in the place of the operator's token, which is told by its SHA-256.
    ///
    /// # Errors
    /// [`PinError`]; the operator's own is used then.
    fn kept(&self, server: &ServerName, instead_of: &Digest) -> Result<Option<Zeroizing<String>>, PinError>;

    /// Keeps one in its place, before it is used.
    ///
    /// # Errors
    /// [`PinError`]; it is used until this process ends.
    fn keep(&self, server: &ServerName, instead_of: &Digest, token: &str) -> Result<(), PinError>;
}
