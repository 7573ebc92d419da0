use timebase::Span;

use crate::Rounding;

/// What a known validator does, measured on the real program with a clock of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Its name in the configuration.
    pub name: &'static str,
    /// How far in the future a stamp may lie.
    pub leeway: Span,
    /// How the issuer rounds.
    pub rounding: Rounding,
    /// The lifetime of a token, where the program has a default.
    pub lifetime: Option<Span>,
    /// What a refusal looks like.
    pub refusal: &'static str,
    /// What was measured.
    pub basis: &'static str,
}

impl Preset {
    /// Keystone with JWS tokens.
    pub const KEYSTONE_JWS: Self = Self {
        name: "keystone-jws",
        leeway: Span::ZERO,
        rounding: Rounding::WholeSeconds,
        lifetime: Some(Span::from_secs(3600)),
        refusal: "Keystone answers HTTP 500, not 401 (uncaught ImmatureSignatureError), until the \
                  validator's clock has reached the second of issue.",
        basis: "Measured on Keystone JWS: the issuer rounds down to whole seconds, there is no \
                leeway; refused from 0 to 1 s of issuer lead by the phase within the second; \
                expired when the validator's clock has passed the whole second of expiry.",
    };

    /// A service that checks iat and nbf with PyJWT.
    pub const PYJWT: Self = Self {
        name: "pyjwt",
        leeway: Span::ZERO,
        rounding: Rounding::WholeSeconds,
        lifetime: None,
        refusal: "PyJWT raises ImmatureSignatureError (\"not yet valid\") for iat and nbf, which most \
                  services answer with HTTP 401.",
        basis: "Measured on PyJWT: refused if the issuer's whole second is later than the \
                validator's clock plus leeway, 0 by default; refused from 0 to 1 s of issuer lead \
                by the phase within the second.",
    };
}
