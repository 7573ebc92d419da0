use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Answer, Bounds, Span};

use crate::Raise;

/// What a rule says about one subject now, with the evidence and in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule: `drift`, `silent`, `token-skew`, `log-skew`.
    pub rule: &'static str,
    /// The name of the policy in the configuration.
    pub policy: String,
    /// What it is about, within the policy: `policy` as a whole, or a host.
    pub subject: String,
    /// What the comparison says.
    pub answer: Answer,
    /// Answer safe, but too near the limit for an open alert to be over.
    pub near_limit: bool,
    /// The host it is about.
    pub host: Option<i64>,
    /// The other host of a pair.
    pub peer: Option<i64>,
    /// The interval compared.
    pub interval: Option<Bounds>,
    /// The limit it was compared with.
    pub limit: Option<Span>,
    /// What is, by how much.
    pub summary: String,
    /// What breaks.
    pub consequence: String,
    /// What to do.
    pub advice: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Whether it belongs on the list of findings. Others exist only so that an alert knows that its
    /// cause is over, or that nothing is known.
    pub listed: bool,
    /// When it is worth an alert; `None`: never, as for a policy whose culprits speak for it.
    pub raise: Option<Raise>,
}

impl Finding {
    /// `rule:policy:subject`, the identity of a finding over time.
    pub fn key(&self) -> String {
        format!("{}:{}:{}", self.rule, self.policy, self.subject)
    }

    /// The subject of a finding about one host.
    pub(crate) fn about_host(host_id: i64) -> String {
        format!("host-{host_id}")
    }
}

/// One named fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Its name; spans are in nanoseconds and their names end in `_ns`.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number of things.
    Count(usize),
    /// A duration.
    Span(Span),
    /// A part of one, as in "0.7 of all tokens".
    Share(f64),
    /// A word or a sentence.
    Text(String),
    /// Several words.
    List(Vec<String>),
}

impl Evidence {
    /// A number of things.
    pub(crate) fn count(name: &'static str, count: usize) -> Self {
        Self { name, value: Value::Count(count) }
    }

    /// A duration; `name` ends in `_ns`.
    pub(crate) fn span(name: &'static str, span: Span) -> Self {
        Self { name, value: Value::Span(span) }
    }

    /// A part of one.
    pub(crate) fn share(name: &'static str, share: f64) -> Self {
        Self { name, value: Value::Share(share) }
    }

    /// A word or a sentence.
    pub(crate) fn text(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, value: Value::Text(text.into()) }
    }

    /// Several words.
    pub(crate) fn list(name: &'static str, list: Vec<String>) -> Self {
        Self { name, value: Value::List(list) }
    }
}
