//! Who leads whom by more than is allowed, over two groups of clocks, in O(n log n).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;

use timebase::{Answer, Bounds, Span, Timestamp, Utc};

use crate::{FleetView, HostView, Selector};

/// A host with a usable window.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'a> {
    pub(crate) host: &'a HostView,
    pub(crate) bounds: Bounds,
}

/// The hosts of one group: those with a window now, and those without.
pub(crate) struct Group<'a> {
    pub(crate) clocks: Vec<Clock<'a>>,
    pub(crate) blind: Vec<&'a HostView>,
}

impl<'a> Group<'a> {
    pub(crate) fn select(view: &'a FleetView, selector: &Selector, max_age: Span) -> Self {
        let at: Timestamp<Utc> = view.reference_time;
        let mut group = Self { clocks: Vec::new(), blind: Vec::new() };
        for host in view.hosts.iter().filter(|host| selector.matches(host)) {
            match host.bounds_at(at, max_age) {
                Some(bounds) => group.clocks.push(Clock { host, bounds }),
                None => group.blind.push(host),
            }
        }
        group
    }

    pub(crate) fn len(&self) -> usize {
        self.clocks.len() + self.blind.len()
    }
}

/// One host that leads another.
pub(crate) struct Pair<'a> {
    pub(crate) leader: Clock<'a>,
    pub(crate) follower: Clock<'a>,
}

impl<'a> Pair<'a> {
    /// The one of the two that is certainly further from UTC; the leader if neither is.
    pub(crate) fn culprit(&self) -> Clock<'a> {
        let off = |clock: &Clock<'_>| (clock.bounds.least_magnitude(), clock.bounds.magnitude());
        if off(&self.leader) >= off(&self.follower) { self.leader } else { self.follower }
    }

    /// By how much the leader's clock is ahead of the follower's.
    pub(crate) fn lead(&self) -> Bounds {
        self.leader.bounds - self.follower.bounds
    }
}

/// A host that explains pairs beyond the limit, with the pair that shows it best.
pub(crate) struct Culprit<'a> {
    pub(crate) pair: Pair<'a>,
    /// Whether it is the pair's leader; else the follower.
    pub(crate) leads: bool,
    /// How many hosts of the other group it is beyond the limit with.
    pub(crate) against: usize,
    /// How many hosts of the other group it was compared with.
    pub(crate) of: usize,
}

impl<'a> Culprit<'a> {
    /// The host that is the cause.
    pub(crate) fn host(&self) -> &'a HostView {
        if self.leads { self.pair.leader.host } else { self.pair.follower.host }
    }

    /// The host that shows it best.
    pub(crate) fn peer(&self) -> &'a HostView {
        if self.leads { self.pair.follower.host } else { self.pair.leader.host }
    }
}

/// Every ordered pair of a leader and a follower, a clock never with itself, against the lead allowed.
pub(crate) struct Pairs<'a> {
    leaders: Vec<Clock<'a>>,
    followers: Vec<Clock<'a>>,
    in_both: BTreeSet<i64>,
    limit: Span,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(leaders: &[Clock<'a>], followers: &[Clock<'a>], limit: Span) -> Self {
        let ids: BTreeSet<i64> = leaders.iter().map(|c| c.host.host_id).collect();
        let in_both =
            followers.iter().map(|c| c.host.host_id).filter(|id| ids.contains(id)).collect();
        Self { leaders: leaders.to_vec(), followers: followers.to_vec(), in_both, limit }
    }

    /// How many pairs there are.
    pub(crate) fn total(&self) -> usize {
        self.leaders.len() * self.followers.len() - self.in_both.len()
    }

    /// The worst answer of any pair; unknown without pairs.
    pub(crate) fn answer(&self) -> Answer {
        self.widest().map_or(Answer::Unknown, |pair| pair.lead().above(self.limit))
    }

    /// How many pairs are beyond the limit, at least as surely as `answer` says.
    pub(crate) fn count(&self, answer: Answer) -> usize {
        let (_, followers) = self.sorted(answer);
        self.leaders.iter().map(|leader| self.degree_of_leader(&followers, leader, answer)).sum()
    }

    /// The pair beyond the limit by most: by what is certain if any pair is certainly beyond it,
    /// else by what is possible.
    pub(crate) fn widest(&self) -> Option<Pair<'a>> {
        let widest = |answer| {
            let (leaders, followers) = self.sorted(answer);
            // A clock is not compared with itself, so the best of each may exclude each other.
            let mut best: Option<Pair<'a>> = None;
            for leader in leaders.iter().take(2) {
                for follower in followers.iter().take(2) {
                    let pair = Pair { leader: *leader, follower: *follower };
                    let better =
                        |best: &Pair<'_>| edge(pair.lead(), answer) > edge(best.lead(), answer);
                    if leader.host.host_id != follower.host.host_id
                        && best.as_ref().is_none_or(better)
                    {
                        best = Some(pair);
                    }
                }
            }
            best
        };
        widest(Answer::Certain)
            .filter(|pair| pair.lead().lo() > self.limit)
            .or_else(|| widest(Answer::Possible))
    }

    /// Few hosts that together explain every pair beyond the limit.
    ///
    /// Who is beyond the limit with whom is a nested order: if a leader is beyond it with some
    /// follower, it is with every follower further behind. So the foremost leader and the rearmost
    /// follower are enough to look at: the one certainly further from UTC is taken as the cause, and
    /// the rest is looked at without it.
    pub(crate) fn culprits(&self, answer: Answer) -> Vec<Culprit<'a>> {
        let (leaders, followers) = self.sorted(answer);
        let (mut leader, mut follower) = (leaders.as_slice(), followers.as_slice());
        let mut culprits = Vec::new();
        while let ([first, leaders_left @ ..], [last, followers_left @ ..]) = (leader, follower) {
            let pair = Pair { leader: *first, follower: *last };
            if edge(pair.lead(), answer) <= self.limit {
                break;
            }
            if first.host.host_id == last.host.host_id {
                // Only a wide window makes a clock "lead itself"; what it does to others is seen from
                // their side.
                follower = followers_left;
                continue;
            }
            let ahead_of = self.degree_of_leader(&followers, first, answer);
            let behind = self.degree_of_follower(&leaders, last, answer);
            let leads = (first.bounds.least_magnitude(), ahead_of)
                >= (last.bounds.least_magnitude(), behind);
            let (against, others) =
                if leads { (ahead_of, self.followers.len()) } else { (behind, self.leaders.len()) };
            let own = if leads { first } else { last }.host.host_id;
            let of = others - usize::from(self.in_both.contains(&own));
            culprits.push(Culprit { pair, leads, against, of });
            if leads {
                leader = leaders_left;
            } else {
                follower = followers_left;
            }
        }
        culprits
    }

    /// Leaders, foremost first, and followers, rearmost first, by the end of the interval that
    /// `answer` rests on.
    fn sorted(&self, answer: Answer) -> (Vec<Clock<'a>>, Vec<Clock<'a>>) {
        let (mut leaders, mut followers) = (self.leaders.clone(), self.followers.clone());
        leaders.sort_by_key(|c| (Reverse(fore(c, answer)), c.host.host_id));
        followers.sort_by_key(|c| (rear(c, answer), c.host.host_id));
        (leaders, followers)
    }

    fn degree_of_leader(
        &self,
        followers: &[Clock<'a>],
        leader: &Clock<'a>,
        answer: Answer,
    ) -> usize {
        let beyond = |f: &Clock<'a>| fore(leader, answer) - rear(f, answer) > self.limit;
        let degree = followers.partition_point(beyond);
        degree - usize::from(self.in_both.contains(&leader.host.host_id) && beyond(leader))
    }

    fn degree_of_follower(
        &self,
        leaders: &[Clock<'a>],
        follower: &Clock<'a>,
        answer: Answer,
    ) -> usize {
        let beyond = |l: &Clock<'a>| fore(l, answer) - rear(follower, answer) > self.limit;
        let degree = leaders.partition_point(beyond);
        degree - usize::from(self.in_both.contains(&follower.host.host_id) && beyond(follower))
    }
}

/// The end of a lead that `answer` rests on: the least for certain, else the greatest.
fn edge(lead: Bounds, answer: Answer) -> Span {
    if answer == Answer::Certain { lead.lo() } else { lead.hi() }
}

fn fore(leader: &Clock<'_>, answer: Answer) -> Span {
    if answer == Answer::Certain { leader.bounds.lo() } else { leader.bounds.hi() }
}

fn rear(follower: &Clock<'_>, answer: Answer) -> Span {
    if answer == Answer::Certain { follower.bounds.hi() } else { follower.bounds.lo() }
}
