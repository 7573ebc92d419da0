//! `GET /`: every host, worst first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;
use store::pages::At;
use store::pages::fleet::{FleetCounts, FleetQuery, FleetRow, FleetSort};
use timebase::Answer;

use crate::present::{self, Band, Mark, Moment, Quantity};
use crate::session::{Frame, Viewer};
use crate::{Error, WebState};

const PER_PAGE: i64 = 100;

/// The address as the browser sends it; forms send empty fields too.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    q: String,
    service: String,
    answer: String,
    sort: String,
    dir: String,
    page: String,
}

impl Asked {
    fn query(&self) -> Result<FleetQuery, Error> {
        if !self.answer.is_empty() && Answer::from_word(&self.answer).is_none() {
            return Err(Error::BadAddress(format!(
                "There is no answer \"{}\": it is certain, possible, unknown or safe.",
                self.answer
            )));
        }
        Ok(FleetQuery {
            name: self.q.trim().to_owned(),
            service: self.service.clone(),
            answer: self.answer.clone(),
            sort: self.sort(),
            descending: self.dir == "desc",
            skip: (self.page() - 1).saturating_mul(PER_PAGE),
            take: PER_PAGE,
        })
    }

    fn sort(&self) -> FleetSort {
        FleetSort::ALL.into_iter().find(|sort| sort.word() == self.sort).unwrap_or(FleetSort::Worst)
    }

    fn page(&self) -> i64 {
        self.page.parse().unwrap_or(1).clamp(1, 1_000_000)
    }

    /// The address of this page with some things changed.
    fn address(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut asked = self.clone();
        change(&mut asked);
        let fields = [
            ("q", &asked.q),
            ("service", &asked.service),
            ("answer", &asked.answer),
            ("sort", &asked.sort),
            ("dir", &asked.dir),
            ("page", &asked.page),
        ];
        let given: Vec<String> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", crate::error::escape(value)))
            .collect();
        if given.is_empty() { "/".to_owned() } else { format!("/?{}", given.join("&")) }
    }
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    asked: Asked,
    counts: Vec<Count>,
    enrolled: i64,
    services: Vec<String>,
    columns: Vec<Column>,
    rows: Vec<Row>,
    shown: String,
    newer: Option<String>,
    older: Option<String>,
    filtered: bool,
}

struct Count {
    mark: Mark,
    hosts: i64,
    address: String,
    chosen: bool,
}

struct Column {
    name: &'static str,
    class: &'static str,
    meaning: &'static str,
    /// Where a click leads; empty: not sortable.
    address: String,
    /// For `aria-sort`: ascending, descending, none.
    sorted: &'static str,
}

struct Row {
    uuid: String,
    name: String,
    service: String,
    simulated: bool,
    revoked: bool,
    silent: bool,
    mark: Mark,
    since: Option<Moment>,
    offset: Option<Quantity>,
    window: Option<Window>,
    note: Option<String>,
    state: String,
    state_words: &'static str,
    source: String,
    report: Option<Moment>,
}

struct Window {
    ends: (Quantity, Quantity),
    width: Quantity,
    band: Option<Band>,
}

pub(crate) async fn show(
    State(state): State<WebState>,
    viewer: Viewer,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Error> {
    let query = asked.query()?;
    let now = viewer.now();
    let counts = state.store().fleet_counts(&query).await?;
    let rows = state.store().fleet_rows(&query, &counts).await?;
    let services = state.store().services().await?;
    let enrolled = counts.enrolled;
    let matching = matching(&counts, &query.answer);
    let last = query.skip + rows.len() as i64;
    let page = asked.page();
    let page = FleetPage {
        frame: viewer.frame(&state, "Fleet", "fleet").await?,
        counts: counts_shown(&asked, &counts),
        enrolled,
        services,
        columns: columns(&asked),
        shown: if rows.is_empty() {
            String::new()
        } else {
            format!("{} to {last} of {}", query.skip + 1, present::count(matching, "host"))
        },
        newer: (page > 1).then(|| asked.address(|a| a.page = (page - 1).to_string())),
        older: (last < matching).then(|| asked.address(|a| a.page = (page + 1).to_string())),
        filtered: !(query.name.is_empty() && query.service.is_empty() && query.answer.is_empty()),
        rows: rows.into_iter().map(|row| Row::new(row, now)).collect(),
        asked,
    };
    Ok(Html(page.render()?))
}

fn hosts_with(counts: &FleetCounts, answer: Answer) -> i64 {
    match answer {
        Answer::Certain => counts.certain,
        Answer::Possible => counts.possible,
        Answer::Unknown => counts.unknown,
        Answer::Safe => counts.safe,
    }
}

fn matching(counts: &FleetCounts, answer: &str) -> i64 {
    let wanted = |a: &Answer| answer.is_empty() || a.word() == answer;
    Answer::ALL.into_iter().filter(wanted).map(|a| hosts_with(counts, a)).sum()
}

/// The four counts as links: one more click takes the filter off again.
fn counts_shown(asked: &Asked, counts: &FleetCounts) -> Vec<Count> {
    let shown = |answer: Answer| {
        let chosen = asked.answer == answer.word();
        Count {
            mark: Mark { answer },
            hosts: hosts_with(counts, answer),
            address: asked.address(|a| {
                a.answer = if chosen { String::new() } else { answer.word().to_owned() };
                a.page.clear();
            }),
            chosen,
        }
    };
    Answer::ALL.into_iter().map(shown).collect()
}

fn columns(asked: &Asked) -> Vec<Column> {
    let column = |name, sort: FleetSort, class, meaning: &'static str| {
        let current = asked.sort() == sort;
        let descending = asked.dir == "desc";
        Column {
            name,
            class,
            meaning: if meaning.is_empty() { "" } else { present::term(meaning) },
            address: asked.address(|a| {
                a.sort =
                    if sort == FleetSort::Worst { String::new() } else { sort.word().to_owned() };
                a.dir = if current && !descending { "desc".to_owned() } else { String::new() };
                a.page.clear();
            }),
            sorted: match (current, descending) {
                (false, _) => "none",
                (true, false) => "ascending",
                (true, true) => "descending",
            },
        }
    };
    vec![
        column("Host", FleetSort::Host, "c-host", ""),
        column("Service", FleetSort::Service, "c-service", ""),
        column("Answer", FleetSort::Worst, "c-answer", "answer"),
        column("Since", FleetSort::Since, "c-since", "since"),
        column("Offset", FleetSort::Offset, "c-offset num", "offset"),
        Column {
            name: "Window",
            class: "c-window",
            meaning: present::term("window"),
            address: String::new(),
            sorted: "none",
        },
        column("Width", FleetSort::Width, "c-width num", "width"),
        column("State", FleetSort::State, "c-state", "state"),
        column("Source", FleetSort::Source, "c-source", "source"),
        column("Report", FleetSort::Report, "c-report num", "report"),
    ]
}

impl Row {
    fn new(row: FleetRow, now: At) -> Self {
        let bounds = present::bounds(row.lo_ns, row.hi_ns);
        let window = bounds.map(|bounds| Window {
            ends: present::ends(bounds),
            width: present::magnitude(bounds.width().as_ns()),
            band: row.budget_ns.map(|budget| Band::in_budget(bounds, row.offset_ns, budget)),
        });
        let reported = row.received_at.is_some();
        let no_source = present::no_source(row.sources, row.reachable, window.is_some());
        let note = match (reported, no_source) {
            (false, _) => Some("enrolled, no report yet".to_owned()),
            (true, Some(words)) => Some(format!("{words}{}", kernel(&row))),
            (true, None) => None,
        };
        Self {
            uuid: row.host_uuid.to_string(),
            name: row.name,
            service: row.service,
            simulated: row.simulated,
            revoked: row.revoked,
            silent: row.silent && reported,
            mark: Mark::of(&row.answer),
            since: row.since.map(|since| Moment::new(since, now)),
            offset: row.offset_ns.map(present::signed),
            window,
            note,
            state_words: present::state_words(row.state.as_deref().unwrap_or_default()),
            state: row.state.unwrap_or_else(|| "–".to_owned()),
            source: row.source.unwrap_or_default(),
            report: row.received_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// What the kernel knows where nobody else does.
fn kernel(row: &FleetRow) -> String {
    let Some(max_error) = row.kernel_max_error_ns else { return String::new() };
    let flag = match row.kernel_synchronised {
        Some(true) => "synchronised",
        _ => "not synchronised",
    };
    format!("; kernel says {flag}, max error {}", present::magnitude(max_error).text)
}
