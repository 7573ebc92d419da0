//! `[drift]`, `[silence]`, `[[token-skew]]`, `[[log-skew]]`: the policies of the rules.

use std::collections::BTreeSet;

use anyhow::ensure;
use risk::{Policies, Raise, Rounding, Selector};
use serde::{Deserialize, Serialize};
use timebase::Span;

use super::{Config, span};

/// The drift rule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Drift {
    /// Limit of the clock's error either way.
    #[serde(with = "span")]
    pub budget: Span,
    /// How long *possible* must last to be an alert; `None` is written `"never"`.
    #[serde(with = "or_never")]
    pub possible_after: Option<Span>,
    /// How long the clock must be well inside its budget for the alert to be over.
    #[serde(with = "span")]
    pub resolve_after: Span,
}

/// The silence rule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Silence {
    /// After how long without a report a host is silent, and its window too old to say anything.
    #[serde(with = "span")]
    pub limit: Span,
    /// How long it must report again for the alert to be over.
    #[serde(with = "span")]
    pub resolve_after: Span,
}

/// One token-skew policy. What it leaves open is the preset's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TokenSkew {
    /// Its name in findings and alerts.
    pub name: String,
    /// The program whose checks were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Services whose hosts issue tokens; `*` stands for any run of characters.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Hosts by name that issue tokens.
    #[serde(default)]
    pub issuer_hosts: Vec<String>,
    /// Services whose hosts check tokens.
    #[serde(default)]
    pub validators: Vec<String>,
    /// Hosts by name that check tokens.
    #[serde(default)]
    pub validator_hosts: Vec<String>,
    /// How far in the future a stamp may lie.
    #[serde(default, with = "or_unset", skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Span>,
    /// The least delay from issue to check.
    #[serde(default, with = "or_unset", skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// How the issuer rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Round>,
    /// How long a token is valid.
    #[serde(default, with = "or_unset", skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,
    /// How much of that must be left; half unless given.
    #[serde(default, with = "or_unset", skip_serializing_if = "Option::is_none")]
    pub usable_life: Option<Span>,
    /// What a refusal looks like, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// How long *possible* must last to be an alert.
    #[serde(default, with = "or_never")]
    pub possible_after: Option<Span>,
    /// How long nothing must be refused for the alert to be over.
    #[serde(default = "pair_resolve_after", with = "span")]
    pub resolve_after: Span,
}

/// One log-skew policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogSkew {
    /// Its name in findings and alerts.
    pub name: String,
    /// Services whose lines must sort; `*` stands for any run of characters.
    #[serde(default)]
    pub services: Vec<String>,
    /// Hosts by name whose lines must sort.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The least time between a line and one of another host that it caused.
    #[serde(with = "span")]
    pub gap: Span,
    /// The resolution of the stamps, if coarser than the gap.
    #[serde(default, with = "or_unset", skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Span>,
    /// How long *possible* must last to be an alert.
    #[serde(default, with = "or_never")]
    pub possible_after: Option<Span>,
    /// How long the order must hold for the alert to be over.
    #[serde(default = "pair_resolve_after", with = "span")]
    pub resolve_after: Span,
}

/// A measured program.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Keystone with JWS tokens.
    KeystoneJws,
    /// A service that checks tokens with PyJWT.
    Pyjwt,
}

/// How stamps are rounded.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Round {
    /// Down to whole seconds.
    WholeSeconds,
    /// Not at all.
    None,
}

/// Windows of many hosts wander in and out of a limit between pairs: that is not news each time.
fn pair_resolve_after() -> Span {
    Span::from_secs(30)
}

/// The policies of all rules.
///
/// # Errors
/// Two policies of one rule have one name, or a policy can never apply.
pub fn policies(config: &Config) -> anyhow::Result<Policies> {
    unique("token-skew", config.token_skew.iter().map(|policy| &policy.name))?;
    unique("log-skew", config.log_skew.iter().map(|policy| &policy.name))?;
    let max_age = config.silence.limit;
    let drift = risk::drift::Policy {
        name: "budget".into(),
        budget: config.drift.budget,
        max_age,
        raise: Raise {
            possible_after: config.drift.possible_after,
            resolve_after: config.drift.resolve_after,
        },
    };
    let silent = risk::silent::Policy {
        name: "report".into(),
        limit: config.silence.limit,
        raise: Raise { possible_after: None, resolve_after: config.silence.resolve_after },
    };
    Ok(Policies {
        drift: vec![drift],
        silent: vec![silent],
        token_skew: config.token_skew.iter().map(|policy| policy.policy(max_age)).collect(),
        log_skew: config.log_skew.iter().map(|policy| policy.policy(max_age)).collect(),
    })
}

fn unique<'a>(rule: &str, names: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(!name.trim().is_empty(), "[[{rule}]]: a policy needs a name");
        ensure!(seen.insert(name), "[[{rule}]]: two policies are called {name:?}");
    }
    Ok(())
}

impl TokenSkew {
    fn policy(&self, max_age: Span) -> risk::token_skew::Policy {
        let preset = self.preset.map(Preset::measured);
        let rounding = self.rounding.map(Round::rounding);
        risk::token_skew::Policy {
            name: self.name.clone(),
            issuers: selector(&self.issuers, &self.issuer_hosts),
            validators: selector(&self.validators, &self.validator_hosts),
            leeway: self.leeway.or(preset.map(|p| p.leeway)).unwrap_or_default(),
            delay: self.delay.unwrap_or_default(),
            rounding: rounding.or(preset.map(|p| p.rounding)).unwrap_or_default(),
            lifetime: self.lifetime.or(preset.and_then(|p| p.lifetime)),
            usable_life: self.usable_life,
            refusal: self
                .refusal
                .clone()
                .or(preset.map(|p| p.refusal.to_owned()))
                .unwrap_or_default(),
            basis: preset.map_or("Set in the configuration.", |p| p.basis).to_owned(),
            max_age,
            raise: Raise { possible_after: self.possible_after, resolve_after: self.resolve_after },
        }
    }
}

impl LogSkew {
    fn policy(&self, max_age: Span) -> risk::log_skew::Policy {
        risk::log_skew::Policy {
            name: self.name.clone(),
            hosts: selector(&self.services, &self.hosts),
            gap: self.gap,
            resolution: self.resolution.filter(|resolution| *resolution > Span::ZERO),
            max_age,
            raise: Raise { possible_after: self.possible_after, resolve_after: self.resolve_after },
        }
    }
}

impl Preset {
    fn measured(self) -> risk::token_skew::Preset {
        match self {
            Self::KeystoneJws => risk::token_skew::Preset::KEYSTONE_JWS,
            Self::Pyjwt => risk::token_skew::Preset::PYJWT,
        }
    }
}

impl Round {
    fn rounding(self) -> Rounding {
        match self {
            Self::WholeSeconds => Rounding::WholeSeconds,
            Self::None => Rounding::None,
        }
    }
}

fn selector(services: &[String], hosts: &[String]) -> Selector {
    Selector { services: services.to_vec(), hosts: hosts.to_vec() }
}

/// A duration that may be left out; zero is allowed.
mod or_unset {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use timebase::Span;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Span>, D::Error> {
        let span: Span = String::deserialize(from)?.parse().map_err(D::Error::custom)?;
        if span.is_negative() {
            Err(D::Error::custom("must not be below zero"))
        } else {
            Ok(Some(span))
        }
    }

    pub(super) fn serialize<S: Serializer>(span: &Option<Span>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::span::serialize(span, to),
            None => to.serialize_none(),
        }
    }
}

/// A duration above zero, or `"never"`.
mod or_never {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use timebase::Span;

    const NEVER: &str = "never";

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Span>, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim() == NEVER {
            return Ok(None);
        }
        let span: Span = text.parse().map_err(D::Error::custom)?;
        if span > Span::ZERO { Ok(Some(span)) } else { Err(D::Error::custom("must be above zero")) }
    }

    pub(super) fn serialize<S: Serializer>(span: &Option<Span>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::span::serialize(span, to),
            None => to.serialize_str(NEVER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped policies are valid and mean what the sample file says.
    #[test]
    fn the_default_policies_are_valid() {
        let policies = policies(&Config::defaults()).unwrap();
        assert_eq!(policies.drift[0].budget, Span::from_millis(100));
        assert_eq!(policies.drift[0].raise.possible_after, Some(Span::from_secs(60)));
        let jws = &policies.token_skew[0];
        assert_eq!((jws.leeway, jws.lifetime), (Span::ZERO, Some(Span::from_secs(3600))));
        assert!(jws.refusal.contains("HTTP 500"));
        assert_eq!(jws.raise.possible_after, None);
        assert_eq!(policies.log_skew[0].gap, Span::from_millis(10));
    }

    /// A policy overrides its preset key by key; two of one name and unknown presets are refused.
    #[test]
    fn policies_override_their_preset() {
        let parse = |text: &str| Config::parse(text).map_err(anyhow::Error::from);
        let config = parse(
            "[[token-skew]]\nname = 'a'\npreset = 'pyjwt'\nleeway = '10 s'\nlifetime = '5 min'",
        )
        .unwrap();
        let policy = &policies(&config).unwrap().token_skew[0];
        assert_eq!(policy.leeway, Span::from_secs(10));
        assert_eq!(policy.lifetime, Some(Span::from_secs(300)));
        assert!(policy.refusal.contains("PyJWT"));

        let twice = "[[log-skew]]\nname='a'\ngap='1 ms'\n[[log-skew]]\nname='a'\ngap='2 ms'";
        let error = policies(&parse(twice).unwrap()).unwrap_err();
        assert!(error.to_string().contains("two policies are called \"a\""), "{error}");
        let error = parse("[[token-skew]]\nname='a'\npreset='pyjvt'").unwrap_err().to_string();
        assert!(error.contains("pyjvt") && error.contains("line 3"), "{error}");
        let error = parse("[[token-skew]]\nname='a'\nleeway='-1 s'").unwrap_err().to_string();
        assert!(error.contains("below zero"), "{error}");
    }
}
