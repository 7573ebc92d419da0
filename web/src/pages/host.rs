//! `GET /hosts/{uuid}`: one host in depth.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Html;
use store::pages::At;
use store::pages::host::{HostDetail, HostEvent, HostRefusal, HostSource};
use store::pages::series::Bucket;
use timebase::{Answer, Bounds, Span, Verdict, reference_id_text};

use super::risks::Risk;
use super::series::{Asked, Range};
use crate::present::{self, Fact, Mark, Moment, Quantity, fact, interval, moment, quantity};
use crate::session::{Frame, Viewer};
use crate::{Error, WebState};

/// Rows of the table behind the chart.
const CHART_ROWS: usize = 60;

#[derive(Template)]
#[template(path = "host.html")]
struct HostPage {
    frame: Frame,
    host: HostDetail,
    mark: Mark,
    headline: String,
    explanation: String,
    stale: Option<Moment>,
    note: Option<&'static str>,
    facts: Vec<Fact>,
    kernel: Vec<Fact>,
    identity: Vec<Fact>,
    budget: Option<Quantity>,
    ranges: Vec<RangeLink>,
    range: Range,
    history: Vec<HistoryRow>,
    sources: Vec<SourceRow>,
    risks: Vec<Risk>,
    events: Vec<EventRow>,
    refusals: Vec<RefusalRow>,
}

struct RangeLink {
    label: &'static str,
    address: String,
    current: bool,
}

struct HistoryRow {
    at: Moment,
    bounds: Option<(Quantity, Quantity)>,
    offset: Option<Quantity>,
    mark: Mark,
}

struct SourceRow {
    name: String,
    address: String,
    verdict: String,
    class: &'static str,
    explanation: &'static str,
    offset: Option<Quantity>,
    bounds: Option<(Quantity, Quantity)>,
    delay: Option<Quantity>,
    jitter: Option<Quantity>,
    stratum: String,
    reference: String,
    root_distance: Option<Quantity>,
    reach: Vec<bool>,
    answered: usize,
    poll: Quantity,
    accepted: i64,
    refused: i64,
    stamps: String,
    /// What it is, unless an NTP server: the word and what it means.
    kind: Option<(String, &'static str)>,
    smear: Option<(String, &'static str)>,
    /// MAC or NTS.
    authentication: Option<String>,
    interleaved: bool,
    least_delay: Option<Quantity>,
    /// What is proved of the path, in a sentence.
    asymmetry: Option<String>,
    /// The time that its numbers are of.
    seen: Option<Moment>,
}

struct EventRow {
    at: Moment,
    kind: String,
    summary: String,
}

struct RefusalRow {
    reason: String,
    words: &'static str,
    count: i64,
    last: Moment,
    detail: String,
}

pub(crate) async fn show(
    State(state): State<WebState>,
    viewer: Viewer,
    Path(uuid): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let range = Range::of(asked.range.as_deref())?;
    let uuid = super::host_id(&uuid)?;
    let (store, now) = (state.store(), viewer.now());
    let host = store.host_detail(uuid).await?.ok_or(Error::NotFound)?;
    let sources = store.host_sources(host.host_id).await?;
    let events = store.host_events(host.host_id).await?;
    let refusals = store.host_refusals(host.host_id).await?;
    let findings = store.findings(Some(uuid)).await?;
    // The table behind the chart shows the newest stretch in coarser buckets.
    let coarse = f64::from(range.seconds) / CHART_ROWS as f64;
    let history = store.series(uuid, f64::from(range.seconds), coarse.max(1.0)).await?;

    let reachable = sources.iter().filter(|source| source.reach != 0).count() as i64;
    let bounds = present::bounds(host.lo_ns, host.hi_ns);
    let mark = Mark::of(&host.answer);
    let page = HostPage {
        mark,
        headline: headline(&host, bounds, now),
        explanation: explanation(&host, mark.answer),
        stale: host.received_at.filter(|_| host.silent).map(|at| Moment::new(at, now)),
        note: host
            .received_at
            .and_then(|_| present::no_source(sources.len() as i64, reachable, bounds.is_some())),
        facts: facts(&host, now),
        kernel: kernel(&host),
        identity: identity(&host, now),
        budget: host.budget_ns.map(present::magnitude),
        ranges: Range::ALL.into_iter().map(|r| RangeLink::new(r, range, &host)).collect(),
        range,
        history: history.iter().rev().map(|b| HistoryRow::new(b, host.budget_ns, now)).collect(),
        sources: sources.into_iter().map(|source| SourceRow::new(source, now)).collect(),
        risks: super::risks::of_host(findings, now),
        events: events.into_iter().map(|event| EventRow::new(event, now)).collect(),
        refusals: refusals.into_iter().map(|refusal| RefusalRow::new(refusal, now)).collect(),
        frame: viewer.frame(&state, &host.name, "fleet").await?,
        host,
    };
    Ok(Html(page.render()?))
}

/// What is, since when, in one sentence.
fn headline(host: &HostDetail, bounds: Option<Bounds>, now: At) -> String {
    let name = &host.name;
    let since =
        host.since.map(|at| format!(" since {}", Moment::new(at, now).clock)).unwrap_or_default();
    let Some(received) = host.received_at else {
        return format!("{name} is enrolled and has not reported yet.");
    };
    if host.silent {
        let last = Moment::new(received, now);
        return format!("{name} has not reported since {}.", last.clock);
    }
    match (bounds, Answer::from_word(&host.answer)) {
        (None, _) => format!("The window of {name} is unknown{since}."),
        (Some(bounds), Some(Answer::Certain)) => {
            format!("{name} is {}{since}.", present::ahead_or_behind(bounds))
        }
        (Some(bounds), Some(Answer::Possible)) => {
            format!(
                "{name} may be outside its budget{since}: it is {}.",
                present::ahead_or_behind(bounds)
            )
        }
        (Some(bounds), _) => format!("{name} is {}.", present::ahead_or_behind(bounds)),
    }
}

/// What that means against the budget.
fn explanation(host: &HostDetail, answer: Answer) -> String {
    let Some(budget) = host.budget_ns.map(Span::from_ns) else {
        return "No rule has judged it yet.".to_owned();
    };
    match answer {
        Answer::Certain => {
            format!("Outside its budget of ± {budget} for certain: the whole window is beyond it.")
        }
        Answer::Possible => format!(
            "Its window overlaps the budget of ± {budget}: the data cannot tell which side it is on."
        ),
        Answer::Safe => {
            format!("Inside its budget of ± {budget} for certain: the whole window is.")
        }
        Answer::Unknown => format!(
            "Nobody can say whether it keeps its budget of ± {budget}. Unknown is not safe."
        ),
    }
}

fn facts(host: &HostDetail, now: At) -> Vec<Fact> {
    let bounds = present::bounds(host.lo_ns, host.hi_ns);
    let state = host.state.as_deref().unwrap_or("never reported");
    let statistical =
        host.offset_ns.zip(host.sigma_ns).zip(host.sigma_k).map(|((offset, sigma), k)| {
            let sigma = Span::from_ns(sigma);
            let samples = host.estimate_samples.unwrap_or_default();
            format!("{} ± {k} · {sigma}, from {samples} exchanges", Span::from_ns(offset).signed())
        });
    let mut facts = vec![
        interval("Window (worst case)", "window", bounds),
        quantity("Width", "width", bounds.map(|b| present::magnitude(b.width().as_ns()))),
        quantity("Offset", "offset", host.offset_ns.map(present::signed)),
        fact("Statistical", "statistical", statistical.unwrap_or_else(|| "–".to_owned())),
        Fact { exact: present::state_words(state).to_owned(), ..fact("State", "state", state) },
        quantity("Frequency", "frequency", host.frequency_ppb.map(present::rate)),
        quantity("Oscillator", "oscillator", oscillator(host)),
        interval("Witness", "witness", present::bounds(host.witness_lo_ns, host.witness_hi_ns)),
        moment("Last report", "report", host.received_at, now),
    ];
    if let Some(word) = host.smear.as_deref().filter(|word| *word != "none") {
        let exact = present::smear_words(word).to_owned();
        facts.push(Fact { exact, ..fact("Leap smear", "smear", word) });
    }
    if let Some(tai) = host.leap_table_tai_s {
        facts.push(fact("TAI − UTC", "leap table", format!("{tai} s")));
    }
    facts
}

/// What the window assumes of the oscillator: "measured −12.3 to −10.9 ppm, ceiling ± 50 ppm".
fn oscillator(host: &HostDetail) -> Option<Quantity> {
    let (lo, hi) = host.rate_lo_ppb.zip(host.rate_hi_ppb)?;
    let ceiling = host.drift_ceiling_ppb?;
    let limit = present::rate_limit(ceiling);
    let Quantity { text, exact } = present::rates(lo, hi);
    let text = if lo <= -ceiling && hi >= ceiling {
        format!("not measured, assumed {limit}")
    } else {
        format!("measured {text}, ceiling {limit}")
    };
    Some(Quantity { text, exact })
}

fn kernel(host: &HostDetail) -> Vec<Fact> {
    let Some(synchronised) = host.kernel_synchronised else { return Vec::new() };
    let tai = host.tai_offset_s.unwrap_or_default();
    let status = host.kernel_status.unwrap_or_default();
    vec![
        Fact {
            exact: format!("status bits 0x{status:04x}"),
            ..fact("Synchronised", "kernel synchronised", if synchronised { "yes" } else { "no" })
        },
        quantity("Max error", "kernel max error", host.kernel_max_error_ns.map(present::magnitude)),
        quantity(
            "Estimated error",
            "kernel estimated error",
            host.kernel_estimated_error_ns.map(present::magnitude),
        ),
        quantity("Rate correction", "frequency", host.kernel_frequency_ppb.map(present::rate)),
        fact(
            "TAI offset",
            "TAI offset",
            if tai == 0 { "not set".to_owned() } else { format!("{tai} s") },
        ),
        fact(
            "Steered by",
            "discipliner",
            host.discipliner.as_deref().map_or("–", present::discipliner_words),
        ),
        fact("Leap second", "", host.leap.clone().unwrap_or_else(|| "–".to_owned())),
    ]
}

fn identity(host: &HostDetail, now: At) -> Vec<Fact> {
    let labels = host.labels.as_object().map(|labels| {
        let text = |value: &serde_json::Value| {
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        labels
            .iter()
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect::<Vec<_>>()
            .join(", ")
    });
    let epoch = host.boot_no.zip(host.steps).map(|(boot, steps)| format!("{steps} of boot {boot}"));
    vec![
        fact(
            "Service",
            "",
            if host.service.is_empty() { "none".to_owned() } else { host.service.clone() },
        ),
        fact(
            "Labels",
            "",
            labels.filter(|text| !text.is_empty()).unwrap_or_else(|| "none".to_owned()),
        ),
        fact("Clock epoch", "clock epoch", epoch.unwrap_or_else(|| "–".to_owned())),
        fact("Boot id", "", host.boot_id.map_or_else(|| "–".to_owned(), |id| id.to_string())),
        fact(
            "Agent",
            "",
            if host.agent_version.is_empty() {
                "–".to_owned()
            } else {
                host.agent_version.clone()
            },
        ),
        moment("Enrolled", "", Some(host.enrolled_at), now),
        fact("Host id", "", host.host_uuid.to_string()),
    ]
}

impl RangeLink {
    fn new(range: Range, current: Range, host: &HostDetail) -> Self {
        let address = format!("/hosts/{}?range={}", host.host_uuid, range.word);
        Self { label: range.label, address, current: range == current }
    }
}

impl HistoryRow {
    fn new(bucket: &Bucket, budget_ns: Option<i64>, now: At) -> Self {
        let bounds = present::bounds(bucket.lo_ns, bucket.hi_ns);
        let answer =
            bounds.zip(budget_ns).map(|(bounds, budget)| bounds.beyond(Span::from_ns(budget)));
        Self {
            at: Moment::new(bucket.at, now),
            bounds: bounds.map(present::ends),
            offset: bucket.offset_ns.map(present::signed),
            mark: Mark { answer: answer.unwrap_or(Answer::Unknown) },
        }
    }
}

impl SourceRow {
    fn new(source: HostSource, now: At) -> Self {
        let verdict = Verdict::from_word(&source.verdict);
        let answered_once = source.stratum != 0;
        let reach: Vec<bool> = (0..8).rev().map(|bit| source.reach >> bit & 1 == 1).collect();
        let reference = u32::try_from(source.reference_id).unwrap_or_default();
        let stratum = u8::try_from(source.stratum).unwrap_or_default();
        // NTP's root distance: half the delay plus the dispersion.
        let root_distance = source.root_delay_ns / 2 + source.root_dispersion_ns;
        Self {
            class: match verdict {
                Some(Verdict::Selected | Verdict::Combined) => "good",
                Some(Verdict::Outlier) => "plain",
                Some(Verdict::Falseticker) => "bad",
                _ => "absent",
            },
            explanation: verdict.map_or("", Verdict::explanation),
            offset: source.offset_ns.map(present::signed),
            bounds: present::bounds(source.lo_ns, source.hi_ns).map(present::ends),
            delay: source.delay_ns.map(present::magnitude),
            jitter: source.jitter_ns.map(present::magnitude),
            stratum: if answered_once { stratum.to_string() } else { "–".to_owned() },
            reference: if answered_once {
                reference_id_text(stratum, reference)
            } else {
                "–".to_owned()
            },
            root_distance: answered_once.then(|| present::magnitude(root_distance)),
            answered: reach.iter().filter(|answered| **answered).count(),
            reach,
            poll: present::magnitude(poll(source.poll_log2).as_ns()),
            name: source.name,
            address: source.address,
            verdict: source.verdict,
            accepted: source.accepted,
            refused: source.refused,
            stamps: source.stamps,
            kind: explained(source.kind, present::kind_words),
            smear: explained(source.smear, present::smear_words),
            authentication: (source.authentication != "none")
                .then(|| source.authentication.to_uppercase()),
            interleaved: source.interleaved,
            least_delay: source.least_delay_ns.map(present::magnitude),
            asymmetry: present::bounds(source.asymmetry_lo_ns, source.asymmetry_hi_ns)
                .and_then(asymmetry),
            seen: source.seen_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// The word with its meaning; `None` for the ordinary one, which needs none.
fn explained(word: String, words: fn(&str) -> &'static str) -> Option<(String, &'static str)> {
    let meaning = words(&word);
    (!meaning.is_empty()).then_some((word, meaning))
}

/// Which way is the longer, where that is proved.
fn asymmetry(bounds: Bounds) -> Option<String> {
    let said = |least: Span, most: Span, way: &str| {
        format!("the other sources prove that the delay {way} is {least} to {most} longer")
    };
    let (lo, hi) = (bounds.lo(), bounds.hi());
    if lo > Span::ZERO {
        Some(said(lo, hi, "towards this server"))
    } else if hi < Span::ZERO {
        Some(said(hi.abs(), lo.abs(), "back from this server"))
    } else {
        None
    }
}

/// 2^log2 seconds.
fn poll(log2: i16) -> Span {
    Span::from_secs_f64(f64::from(log2.clamp(-30, 30)).exp2())
}

impl EventRow {
    fn new(event: HostEvent, now: At) -> Self {
        Self { at: Moment::new(event.at, now), kind: event.kind, summary: event.summary }
    }
}

impl RefusalRow {
    fn new(refusal: HostRefusal, now: At) -> Self {
        let HostRefusal { reason, count, last_at, detail } = refusal;
        let words = present::refusal_words(&reason);
        Self { reason, words, count, last: Moment::new(last_at, now), detail }
    }
}
