//! What the findings of token skew say.

use alloc::format;
use alloc::string::String;

use timebase::{Answer, Span};

use super::{Judged, Policy, Side};
use crate::pairs::{Culprit, Group, Pair};
use crate::phrase::{ahead_of, count};
use crate::{attribution, share};

/// Summary and advice when nobody can be compared.
pub(super) fn no_pairs(
    policy: &Policy,
    issuers: &Group<'_>,
    validators: &Group<'_>,
) -> (String, String) {
    let empty = [("issuers", issuers.len()), ("validators", validators.len())]
        .into_iter()
        .find(|(_, hosts)| *hosts == 0);
    match empty {
        Some((group, _)) => (
            format!("No host matches the {group} of policy {}.", policy.name),
            format!(
                "Name services or hosts that exist in the policy's {group}, or remove the policy."
            ),
        ),
        None => (
            format!("No issuer of policy {} can be compared with a validator.", policy.name),
            String::from("See why these hosts have no window: silent agents, unreachable sources."),
        ),
    }
}

/// Summary, consequence and advice of the policy as a whole.
pub(super) fn summary(
    policy: &Policy,
    judged: &Judged<'_>,
    pair: &Pair<'_>,
    answer: Answer,
    blind: usize,
) -> (String, String, String) {
    let (leader, follower) = (&pair.leader.host.name, &pair.follower.host.name);
    let widest = format!("{leader} is {}", ahead_of(pair.lead(), follower));
    let certain = judged.pairs.count(Answer::Certain);
    let total = judged.pairs.total();
    let mut summary = match answer {
        Answer::Certain => {
            format!("{widest}, the widest of {certain} of {total} pairs beyond {}.", judged.limit)
        }
        Answer::Possible => {
            let possible = judged.pairs.count(Answer::Possible);
            format!("{widest}; {possible} of {total} pairs may be beyond {}.", judged.limit)
        }
        _ => format!("No pair of {total} leads by more than {}; at most {widest}.", judged.limit),
    };
    if blind > 0 {
        summary.push_str(&format!(" {} cannot be judged.", count(blind, "host")));
    }
    let (consequence, advice) = match answer {
        Answer::Certain | Answer::Possible => {
            let who = pair.culprit().host;
            (
                consequence(policy, judged, pair, answer, None),
                format!("Begin with {}. {}", who.name, attribution::advice(who, answer)),
            )
        }
        Answer::Safe => (String::from("No token is refused because of a clock."), String::new()),
        Answer::Unknown => (
            String::from("The hosts that can be compared agree; the others are not known to."),
            String::from("See why some hosts have no window: silent agents, unreachable sources."),
        ),
    };
    (summary, consequence, advice)
}

/// Summary and consequence of one host that explains refusals.
pub(super) fn culprit(
    policy: &Policy,
    judged: &Judged<'_>,
    culprit: &Culprit<'_>,
    answer: Answer,
) -> (String, String) {
    let lead = culprit.pair.lead();
    let (host, peer) = (&culprit.host().name, &culprit.peer().name);
    let lead_of_host = if culprit.leads { lead } else { -lead };
    let summary = format!("{host} is {}.", ahead_of(lead_of_host, peer));
    (summary, consequence(policy, judged, &culprit.pair, answer, Some(culprit)))
}

fn consequence(
    policy: &Policy,
    judged: &Judged<'_>,
    pair: &Pair<'_>,
    answer: Answer,
    culprit: Option<&Culprit<'_>>,
) -> String {
    let lead = pair.lead();
    // Whose tokens, and where: the culprit's whole group, or just the pair.
    let (issuers, validators) = match (culprit, judged.side) {
        (Some(c), side) => {
            let host = c.host().name.clone();
            let issues = c.leads == (side == Side::NotYetValid);
            let others = |one: &str| format!("{} of {}", c.against, count(c.of, one));
            if issues { (host, others("validator")) } else { (others("issuer"), host) }
        }
        (None, Side::NotYetValid) => {
            (pair.leader.host.name.clone(), pair.follower.host.name.clone())
        }
        (None, Side::EarlyExpiry) => {
            (pair.follower.host.name.clone(), pair.leader.host.name.clone())
        }
    };
    let verb = if answer == Answer::Certain { "are" } else { "may be" };
    match judged.side {
        Side::NotYetValid => {
            let wait = lead.hi() - policy.leeway;
            let share = first_letter_up(share::words(policy.shares(lead)));
            format!(
                "{share} of the fresh tokens of {issuers} {verb} refused on {validators} as not yet \
                 valid, for up to {wait} after issue. {}",
                policy.refusal
            )
        }
        Side::EarlyExpiry => {
            let life = policy.lifetime.unwrap_or(Span::ZERO) + policy.leeway;
            let left = (life - lead.hi()).max(Span::ZERO);
            format!(
                "Tokens of {issuers} {verb} expired early on {validators}: of {life}, as little as \
                 {left} is left."
            )
        }
    }
}

fn first_letter_up(text: String) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => text,
    }
}
