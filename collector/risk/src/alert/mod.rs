//! The life of an alert: what of all that the rules find is worth telling somebody, once.
//!
//! A finding opens at most one alert. *Certain* opens it at once; *possible* only where the policy
//! says so and only if it lasts; *unknown* never opens one and never closes one. An alert worsens when
//! possible becomes certain, eases when certain has been merely possible for as long as it takes to
//! open on possible, and is resolved when its cause has been gone for a while. Every change is a
//! [`Transition`]; no change is none.

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use timebase::{Answer, Span, Timestamp, Utc};

use crate::Finding;

/// When a finding is worth an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// How long *possible* must last to open an alert; `None`: it never does, and counts as cured.
    pub possible_after: Option<Span>,
    /// How long the cause must have been gone for the alert to be resolved.
    pub resolve_after: Span,
}

impl Default for Raise {
    fn default() -> Self {
        Self { possible_after: None, resolve_after: Span::from_secs(5) }
    }
}

/// Why an alert changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was none.
    Opened,
    /// Possible became certain.
    Worsened,
    /// Certain became possible, for long enough.
    Eased,
    /// Its cause has been gone for long enough.
    Resolved,
}

impl Reason {
    /// The word used in pages, JSON and SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Worsened => "worsened",
            Self::Eased => "eased",
            Self::Resolved => "resolved",
        }
    }
}

/// A change of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The finding's key.
    pub key: String,
    /// Why.
    pub reason: Reason,
    /// How sure it is now.
    pub answer: Answer,
    /// The finding as it is now; `None` if its subject is no longer found at all.
    pub finding: Option<Finding>,
}

/// What is remembered about one finding between evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its answer.
    pub answer: Answer,
    /// Since when its answer has been this one.
    pub since: Timestamp<Utc>,
    /// How sure the open alert is, certain or possible; `None`: no alert is open.
    pub open: Option<Answer>,
    /// Since when the cause of the open alert has been gone.
    pub calm_since: Option<Timestamp<Utc>>,
    /// The policy's terms when it was last found; `None`: never an alert.
    pub raise: Option<Raise>,
    /// The host that it was last compared with.
    pub peer: Option<i64>,
}

/// Every finding that is not forgotten, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    tracks: BTreeMap<String, Track>,
}

impl Alerts {
    /// What an earlier process remembered.
    pub fn restore(tracks: impl IntoIterator<Item = (String, Track)>) -> Self {
        Self { tracks: tracks.into_iter().collect() }
    }

    /// What is remembered about the finding with this key.
    pub fn track(&self, key: &str) -> Option<&Track> {
        self.tracks.get(key)
    }

    /// How many alerts are open.
    pub fn open(&self) -> usize {
        self.tracks.values().filter(|track| track.open.is_some()).count()
    }

    /// The state after an evaluation at `now`, and what changed, in the order of `findings`; alerts
    /// of findings that are gone come last. Of several findings with one key the first counts.
    #[must_use]
    pub fn step(&self, findings: &[Finding], now: Timestamp<Utc>) -> (Self, Vec<Transition>) {
        let mut next = BTreeMap::new();
        let mut transitions = Vec::new();
        for finding in findings {
            let key = finding.key();
            if next.contains_key(&key) {
                continue;
            }
            let mut track = match self.tracks.get(&key) {
                Some(track) if track.answer == finding.answer => *track,
                Some(track) => Track { answer: finding.answer, since: now, ..*track },
                None => Track::new(finding, now),
            };
            track.raise = finding.raise;
            track.peer = finding.peer.or(track.peer);
            if let Some(reason) = track.advance(finding.near_limit, now) {
                let (key, finding) = (key.clone(), Some(finding.clone()));
                transitions.push(Transition { key, reason, answer: track.answer, finding });
            }
            next.insert(key, track);
        }
        for (key, track) in self.tracks.iter().filter(|(_, track)| track.open.is_some()) {
            if next.contains_key(key) {
                continue;
            }
            let mut track = *track;
            let answer =
                if peer_is_blind(key, &track, findings) { Answer::Unknown } else { Answer::Safe };
            if track.answer != answer {
                (track.answer, track.since) = (answer, now);
            }
            match track.advance(false, now) {
                Some(reason) => {
                    let key = key.clone();
                    transitions.push(Transition {
                        key,
                        reason,
                        answer: track.answer,
                        finding: None,
                    });
                }
                None => drop(next.insert(key.clone(), track)),
            }
        }
        (Self { tracks: next }, transitions)
    }
}

/// Whether nothing is said of `key` because the host it was compared with cannot be judged.
fn peer_is_blind(key: &str, track: &Track, findings: &[Finding]) -> bool {
    track.peer.is_some_and(|peer| {
        findings.iter().any(|finding| {
            finding.answer == Answer::Unknown
                && finding.host == Some(peer)
                && same_policy(key, finding)
        })
    })
}

/// Whether `key` is of the same rule and policy as `finding`.
fn same_policy(key: &str, finding: &Finding) -> bool {
    key.strip_prefix(finding.rule)
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|rest| rest.strip_prefix(finding.policy.as_str()))
        .is_some_and(|rest| rest.starts_with(':'))
}

impl Track {
    fn new(finding: &Finding, now: Timestamp<Utc>) -> Self {
        let Finding { answer, raise, peer, .. } = *finding;
        Self { answer, since: now, open: None, calm_since: None, raise, peer }
    }

    /// Moves on with the answer already set.
    fn advance(&mut self, near_limit: bool, now: Timestamp<Utc>) -> Option<Reason> {
        let possible_after = self.raise.and_then(|raise| raise.possible_after);
        let possible_lasts = possible_after.is_some_and(|after| now - self.since >= after);
        let calm = match self.answer {
            Answer::Safe => !near_limit,
            Answer::Possible => possible_after.is_none(),
            Answer::Certain => self.raise.is_none(),
            Answer::Unknown => false,
        };
        self.calm_since = match self.open {
            Some(_) if calm => self.calm_since.or(Some(now)),
            _ => None,
        };
        let resolve_after = self.raise.unwrap_or_default().resolve_after;
        let gone = self.calm_since.is_some_and(|since| now - since >= resolve_after);
        let (open, reason) = match (self.open, self.answer) {
            (None, Answer::Certain) if self.raise.is_some() => {
                (Some(Answer::Certain), Reason::Opened)
            }
            (None, Answer::Possible) if possible_lasts => (Some(Answer::Possible), Reason::Opened),
            (Some(Answer::Possible), Answer::Certain) if self.raise.is_some() => {
                (Some(Answer::Certain), Reason::Worsened)
            }
            (Some(Answer::Certain), Answer::Possible) if possible_lasts => {
                (Some(Answer::Possible), Reason::Eased)
            }
            (Some(_), _) if gone => (None, Reason::Resolved),
            _ => return None,
        };
        self.open = open;
        if open.is_none() {
            self.calm_since = None;
        }
        Some(reason)
    }
}
