//! `GET /storage`: what is kept, where it stands, how long the disk lasts, and what was not taken.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use store::pages::At;
use store::pages::storage::RefusalRow;
use store::storage::{Backup, Disk, ServerState};
use store::tiers::{StorageReport, TierSize};

use crate::present::{self, Age, Bar, Fact, Moment, Quantity, fact, moment};
use crate::session::{Frame, Viewer};
use crate::{Error, WebState};

/// Refusals shown at once, those that go on first.
const REFUSALS_SHOWN: usize = 100;
/// Samples come every few seconds, hours are repacked within minutes of their turn. By so much more, something
/// is wrong.
const LATE_S: f64 = 900.0;
const HOUR_S: f64 = 3_600.0;
const DAY_S: f64 = 86_400.0;

#[derive(Template)]
#[template(path = "storage.html")]
struct StoragePage {
    frame: Frame,
    headline: String,
    explanation: String,
    full: bool,
    warnings: Vec<String>,
    picture: Option<Picture>,
    tiers: Vec<Tier>,
    others: Vec<Other>,
    total: Total,
    facts: Vec<Fact>,
    refusals: Vec<Refused>,
    more_refusals: bool,
}

/// The disk, or without one the tiers alone: now and once every tier is as old as it is kept.
struct Picture {
    now: Bar,
    now_words: String,
    then: Option<(Bar, String)>,
}

struct Tier {
    name: String,
    words: &'static str,
    kept: String,
    holds: Option<Holds>,
    rows: i64,
    size: Quantity,
    /// Its share of what all tiers take.
    bar: Bar,
    growth: Option<Quantity>,
    at_retention: Option<Quantity>,
}

struct Holds {
    age: Age,
    from: Moment,
    /// `None`: up to now.
    until: Option<Moment>,
}

/// What is on the disk and no tier.
struct Other {
    class: &'static str,
    name: &'static str,
    size: Quantity,
}

struct Total {
    size: Quantity,
    growth: Option<Quantity>,
    at_retention: Option<Quantity>,
}

struct Refused {
    host: String,
    address: String,
    simulated: bool,
    reason: String,
    words: &'static str,
    count: i64,
    last: Moment,
    detail: String,
}

pub(crate) async fn show(
    State(state): State<WebState>,
    viewer: Viewer,
) -> Result<Html<String>, Error> {
    let (store, now) = (state.store(), viewer.now());
    let report = store.storage_report().await?;
    let server = store.server_state().await?;
    let backup = store.last_backup().await?;
    let mut refusals = store.newest_refusals(REFUSALS_SHOWN as i64 + 1).await?;
    let more_refusals = refusals.len() > REFUSALS_SHOWN;
    refusals.truncate(REFUSALS_SHOWN);
    let cluster = state.config().cluster.as_deref();
    let room =
        Room { server: &server, disk: cluster.and_then(Disk::under), private: cluster.is_some() };

    let full_in = room.disk.and_then(|disk| report.days_until_full(disk.free_bytes));
    let page = StoragePage {
        headline: headline(&report, &room, full_in),
        explanation: explanation(&report, &room, full_in),
        full: full_in.is_some(),
        warnings: warnings(&report, &room, backup.as_ref(), now),
        picture: picture(&report, &room),
        others: room.others(&report),
        total: Total {
            size: present::bytes(report.bytes()),
            growth: report.bytes_per_day.map(present::bytes),
            at_retention: report.bytes_at_retention.map(present::bytes),
        },
        facts: facts(&room, backup, now),
        refusals: refusals.into_iter().map(|row| Refused::new(row, now)).collect(),
        more_refusals,
        frame: viewer.frame(&state, "Storage", "storage").await?,
        tiers: {
            let all = report.bytes();
            report.tiers.into_iter().map(|tier| Tier::new(tier, all, now)).collect()
        },
    };
    Ok(Html(page.render()?))
}

/// What holds the tiers.
struct Room<'a> {
    server: &'a ServerState,
    disk: Option<Disk>,
    private: bool,
}

impl Room<'_> {
    /// Tables that are no tier.
    fn rest(&self, report: &StorageReport) -> i64 {
        (self.server.bytes - report.bytes()).max(0)
    }

    /// What else is on the disk, the write-ahead log among it.
    fn elsewhere(&self) -> Option<i64> {
        let disk = self.disk?;
        let used = i64::try_from(disk.bytes - disk.free_bytes.min(disk.bytes)).ok()?;
        Some((used - self.server.bytes).max(0))
    }

    fn others(&self, report: &StorageReport) -> Vec<Other> {
        let other = |class, name, bytes| Other { class, name, size: present::bytes(bytes) };
        let rest = other("rest", "other tables of the database", self.rest(report));
        let free = self.disk.and_then(|disk| i64::try_from(disk.free_bytes).ok());
        [
            Some(rest),
            self.elsewhere().map(|bytes| other("elsewhere", "everything else on the disk", bytes)),
            free.map(|bytes| other("free", "free", bytes)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn size(bytes: i64) -> String {
    present::bytes(bytes).text
}

/// Days as people plan with them.
fn days(days: f64) -> String {
    match days {
        d if d < 1.0 => "less than a day".to_owned(),
        d if d < 2.0 => "a day".to_owned(),
        d if d < 730.0 => format!("{d:.0} days"),
        d => format!("{:.0} years", d / 365.0),
    }
}

fn headline(report: &StorageReport, room: &Room<'_>, full_in: Option<f64>) -> String {
    match (full_in, report.bytes_per_day, room.disk) {
        _ if report.tiers.is_empty() => "Nothing is kept yet.".to_owned(),
        (Some(left), ..) => format!("The disk is full in {}.", days(left)),
        (None, None, _) => format!("The samples of the fleet take {}.", size(report.bytes())),
        (None, Some(_), Some(_)) => "The disk holds what is to be kept.".to_owned(),
        (None, Some(growth), None) => format!("The store grows by {} a day.", size(growth)),
    }
}

fn explanation(report: &StorageReport, room: &Room<'_>, full_in: Option<f64>) -> String {
    let free = room.disk.map(|disk| size(disk.free_bytes.try_into().unwrap_or(i64::MAX)));
    let grown = match (report.bytes_per_day, report.bytes_at_retention) {
        (Some(growth), Some(then)) => format!(
            "The tiers take {}, grow by {} a day and will take {} once each is as old as it is kept.",
            size(report.bytes()),
            size(growth),
            size(then)
        ),
        _ => "How fast they grow is known after a whole day (UTC).".to_owned(),
    };
    let room = match (&free, room.private) {
        (Some(free), _) => format!("{free} are free."),
        (None, true) => "How much is free is not known.".to_owned(),
        (None, false) => {
            "The database is on a server of your own, whose disk is not seen from here.".to_owned()
        }
    };
    let todo = match full_in {
        Some(_) => {
            " Once it is full nothing more is stored: agents keep what they measure on their own disks until \
             there is room. Give it a larger disk, or keep less: [retention] in the collector's configuration."
        }
        None => "",
    };
    format!("{grown} {room}{todo}")
}

/// What somebody should look at.
fn warnings(
    report: &StorageReport,
    room: &Room<'_>,
    backup: Option<&Backup>,
    now: At,
) -> Vec<String> {
    let reaches = |name: &str| report.tiers.iter().find(|tier| tier.tier == name)?.holds_until;
    let kept_raw =
        report.tiers.iter().find(|tier| tier.tier == "raw").map_or(0.0, |tier| tier.keep_s);
    let behind = |at: Option<At>, due_s: f64| at.filter(|at| age_s(*at, now) > due_s + LATE_S);
    let mut warnings = Vec::new();
    if let Some(at) = behind(room.server.newest_sample, 0.0) {
        let at = Moment::new(at, now);
        warnings.push(format!(
            "No sample since {} ({}). What is shown below is of then. Look at the collectors that take reports, and at \
             their agents.",
            at.utc, at.ago
        ));
    }
    if let Some(at) = report.not_rolled_up_since {
        warnings.push(format!(
            "Samples are rolled up to {} only ({}). Charts read the samples themselves meanwhile. A collector \
             that runs makes it up; its log says what is in the way.",
            Moment::new(at, now).utc,
            Moment::new(at, now).ago
        ));
    }
    if let Some(at) = behind(reaches("samples"), kept_raw + HOUR_S) {
        warnings.push(format!(
            "Hours are repacked to {} only ({}): raw samples take about five times the room meanwhile. A collector \
             that runs makes it up; its log says what is in the way.",
            Moment::new(at, now).utc,
            Moment::new(at, now).ago
        ));
    }
    if room.server.on_citus {
        warnings.push(
            "Sizes are those of the coordinator's own files, not of the shards: SELECT * FROM citus_tables shows these."
                .to_owned(),
        );
    }
    if backup.is_none() && room.private && !report.tiers.is_empty() {
        warnings.push("No backup was ever made: truechimer db backup FILE.".to_owned());
    }
    warnings
}

fn age_s(at: At, now: At) -> f64 {
    (now.to_jiff().as_millisecond() - at.to_jiff().as_millisecond()) as f64 / 1e3
}

fn picture(report: &StorageReport, room: &Room<'_>) -> Option<Picture> {
    if report.tiers.is_empty() {
        return None;
    }
    let shares = |of: fn(&TierSize) -> i64| {
        let mut shares: Vec<_> = [
            ("elsewhere", "everything else on the disk", room.elsewhere().unwrap_or_default()),
            ("rest", "other tables", room.rest(report)),
        ]
        .map(|(class, name, bytes)| share(class, name, bytes))
        .into();
        shares.extend(report.tiers.iter().map(|tier| share(&tier.tier, &tier.tier, of(tier))));
        shares
    };
    let now = shares(|tier| tier.bytes);
    let then = report
        .bytes_at_retention
        .map(|_| shares(|tier| tier.bytes_at_retention.unwrap_or(tier.bytes)));
    let sum = |shares: &[(String, String, i64)]| shares.iter().map(|share| share.2).sum::<i64>();
    let all = room.disk.map(|disk| disk.bytes);
    let axis = all.map_or(0.0, |bytes| bytes as f64).max(sum(&now) as f64);
    let axis = then.as_deref().map_or(axis, |then| axis.max(sum(then) as f64));
    let words = |shares: &[(String, String, i64)]| {
        let of = all.map(|all| format!(" of {}", risk::phrase::size(all))).unwrap_or_default();
        format!("{}{of}", size(sum(shares)))
    };
    Some(Picture {
        now_words: words(&now),
        now: Bar::new(&now, all, axis),
        then: then.map(|then| (Bar::new(&then, all, axis), words(&then))),
    })
}

fn share(class: &str, name: &str, bytes: i64) -> (String, String, i64) {
    (class.to_owned(), format!("{name}: {}", size(bytes)), bytes)
}

fn facts(room: &Room<'_>, backup: Option<Backup>, now: At) -> Vec<Fact> {
    let server = room.server;
    let backup = match backup {
        Some(Backup { made_at, bytes, file, .. }) => {
            let at = Moment::new(made_at, now);
            Fact {
                exact: format!("{}, {file}", at.utc),
                ..fact("Last backup", "backup", format!("{}, {}", at.ago, size(bytes)))
            }
        }
        None if room.private => fact("Last backup", "backup", "none was ever made"),
        None => fact("Last backup", "backup", "none with truechimer db backup"),
    };
    vec![
        backup,
        moment("Newest sample", "", server.newest_sample, now),
        Fact {
            exact: format!("{} bytes", server.bytes),
            ..fact("Whole database", "", size(server.bytes))
        },
        fact("Connections", "", format!("{} of {}", server.connections, server.max_connections)),
        fact("Postgres", "", server.version.as_str()),
    ]
}

impl Tier {
    fn new(tier: TierSize, all: i64, now: At) -> Self {
        let holds = tier
            .holds_from
            .zip(tier.holds_until)
            .filter(|(from, until)| age_s(*from, *until) > 0.0);
        let share = share(&tier.tier, &tier.tier, tier.bytes);
        Self {
            words: present::tier_words(&tier.tier),
            kept: if tier.keep_s < 2.0 * DAY_S {
                format!("{:.0} h", tier.keep_s / HOUR_S)
            } else {
                format!("{:.0} d", tier.keep_s / DAY_S)
            },
            holds: holds.map(|(from, until)| Holds {
                age: Age::between(age_s(from, now), age_s(until, now)),
                from: Moment::new(from, now),
                until: (tier.tier != "raw").then(|| Moment::new(until, now)),
            }),
            rows: tier.rows_estimate,
            size: present::bytes(tier.bytes),
            bar: Bar::new(&[share], None, all as f64),
            growth: tier.bytes_per_day.map(present::bytes),
            at_retention: tier.bytes_at_retention.map(present::bytes),
            name: tier.tier,
        }
    }
}

impl Refused {
    fn new(row: RefusalRow, now: At) -> Self {
        Self {
            address: format!("/hosts/{}", row.host_uuid),
            host: row.host,
            simulated: row.simulated,
            words: present::refusal_words(&row.reason),
            reason: row.reason,
            count: row.count,
            last: Moment::new(row.last_at, now),
            detail: row.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a forecast reads as people plan.
    #[test]
    fn days_are_words() {
        for (n, words) in
            [(0.3, "less than a day"), (1.2, "a day"), (12.4, "12 days"), (3_650.0, "10 years")]
        {
            assert_eq!(days(n), words);
        }
    }
}
