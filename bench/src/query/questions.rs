//! The questions: the pages, the functions for people, and the worst of a million.

use std::time::Instant;

use anyhow::{Result, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::day::Day;
use crate::figures::{Figures, Goal, Row, Spread};
use crate::web;

const HISTORY: Goal = Goal::P99(50.0);
const WINDOW: Goal = Goal::P50(0.3);
const ORDER: Goal = Goal::P99(1_000.0);
const WORST: Goal = Goal::P99(100.0);
/// Lines put in order at once, and the hosts that wrote them.
const LINES: u32 = 10_000;
const LINE_HOSTS: u32 = 100;
/// A page of the fleet.
const PAGES: [(&str, &str); 6] = [
    ("page: fleet, worst first", "/"),
    ("page: fleet, an answer", "/?answer=possible"),
    ("page: fleet, by offset", "/?sort=offset&dir=desc"),
    ("page: fleet, by source", "/?sort=source"),
    ("page: fleet, the 50th", "/?page=50"),
    ("page: fleet, part of a name", "/?q=0123"),
];
const HOUR_S: i64 = 3_600;

/// Asks and keeps the figures.
pub(crate) struct Asker {
    pub(crate) figures: Figures,
    /// Times that each question is asked, of another host or moment each time.
    times: u32,
    random: Random,
}

impl Asker {
    pub(crate) fn new(times: u32) -> Self {
        Self { figures: Figures::default(), times, random: Random(1) }
    }

    /// The pages of a collector; `uuids` of all its hosts.
    pub(crate) fn pages(&mut self, address: &str, day: &Day, uuids: &[String]) -> Result<()> {
        for (name, path) in PAGES {
            self.measure(name, Goal::None, self.times.div_ceil(10), |_| {
                web::get(address, path).map(drop)
            })?;
        }
        for (name, range) in [("1 h", "1h"), ("24 h", "24h"), ("7 d", "7d")] {
            let of_old = range == "7d";
            let hosts: Vec<_> = (0..self.times)
                .map(|_| if of_old { self.old_host(day) } else { self.host(day) })
                .collect();
            let uuid = |place: usize| &uuids[hosts[place] as usize - 1];
            self.measure(
                &format!("page: host, {name}"),
                Goal::None,
                self.times.div_ceil(5),
                |n| web::get(address, &format!("/hosts/{}?range={range}", uuid(n))).map(drop),
            )?;
            self.measure(&format!("chart of a host, {name}"), HISTORY, self.times, |n| {
                web::get(address, &format!("/api/hosts/{}/series?range={range}", uuid(n))).map(drop)
            })?;
        }
        Ok(())
    }

    /// The functions of schema fleet, as fleet_reader.
    pub(crate) async fn functions(&mut self, url: &PgConnectOptions, day: &Day) -> Result<()> {
        let mut reader = reader(url).await?;
        self.histories(&mut reader, day).await?;
        let repacked = (day.since + HOUR_S / 2, day.repacked_until - HOUR_S / 2);
        let raw = (day.repacked_until + HOUR_S / 2, day.until - 60);
        for (name, (from, to)) in [("raw", raw), ("repacked", repacked)] {
            if from >= to {
                continue;
            }
            let asked: Vec<_> =
                (0..self.times).map(|_| (self.host(day), self.random.between(from, to))).collect();
            let sql = "SELECT * FROM fleet.utc_window($1, $2::int8)";
            let name_of = format!("utc_window, {name}");
            self.ask(&name_of, WINDOW, asked.len(), async |n| {
                let (host, at) = asked[n];
                let query = sqlx::query(sql).bind(name_of_host(host));
                let rows = query.bind(at * 1_000_000_000 + 123_456_789).fetch_all(&mut reader);
                ensure!(rows.await?.len() == 1, "utc_window has not one answer");
                Ok(())
            })
            .await?;
            self.order(&mut reader, day, name, (from, to)).await?;
        }
        Ok(())
    }

    async fn histories(&mut self, reader: &mut PgConnection, day: &Day) -> Result<()> {
        let hour = HOUR_S;
        let raw = (day.repacked_until + hour, day.until);
        let repacked = (day.since + hour, day.repacked_until);
        let whole = |span: i64| ((day.since + span).min(day.until), day.until);
        for (name, span, (from, to)) in [
            ("history 1 h, raw", hour, raw),
            ("history 1 h, repacked", hour, repacked),
            ("history 5 h, most samples", 5 * hour, whole(5 * hour)),
            ("history 24 h", 24 * hour, whole(24 * hour)),
            ("history 100 h, most minutes", 100 * hour, whole(24 * hour)),
            ("history 7 d", 7 * 24 * hour, whole(24 * hour)),
            ("history 30 d", 30 * 24 * hour, whole(24 * hour)),
            ("history 1 y", 365 * 24 * hour, whole(24 * hour)),
        ] {
            let asked: Vec<_> = (0..self.times)
                .map(|_| {
                    let whole = span <= day.until - day.since;
                    let host = if whole { self.host(day) } else { self.old_host(day) };
                    (host, self.random.between(from, to))
                })
                .collect();
            self.ask(name, HISTORY, asked.len(), async |n| {
                let (host, until) = asked[n];
                let sql =
                    "SELECT * FROM fleet.host_history($1, to_timestamp($2), to_timestamp($3))";
                let query = sqlx::query(sql).bind(name_of_host(host));
                let query = query.bind((until - span) as f64).bind(until as f64);
                ensure!(!query.fetch_all(&mut *reader).await?.is_empty(), "no history");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Lines of an hour.
    async fn order(
        &mut self,
        reader: &mut PgConnection,
        day: &Day,
        name: &str,
        (from, to): (i64, i64),
    ) -> Result<()> {
        let batches: Vec<(Vec<String>, Vec<i64>)> = (0..self.times.div_ceil(40))
            .map(|_| {
                let hosts: Vec<_> = (0..LINE_HOSTS).map(|_| self.host(day)).collect();
                let start = self.random.between(from, (to - HOUR_S).max(from + 1));
                let end = (start + HOUR_S).min(to);
                (0..LINES)
                    .map(|n| {
                        let host = hosts[(n % LINE_HOSTS) as usize];
                        let ns = self.random.between(start * 1_000_000, end * 1_000_000) * 1_000;
                        (name_of_host(host), ns)
                    })
                    .unzip()
            })
            .collect();
        self.ask(&format!("{LINES} lines in order, {name}"), ORDER, batches.len(), async |n| {
            let (hosts, at) = &batches[n];
            let sql = "SELECT * FROM fleet.order_lines($1::text[], $2::int8[])";
            let rows = sqlx::query(sql).bind(hosts).bind(at).fetch_all(&mut *reader).await?;
            ensure!(rows.len() == LINES as usize, "lines are lost");
            Ok(())
        })
        .await
    }

    /// The worst hundred of many hosts.
    pub(crate) async fn worst(&mut self, url: &PgConnectOptions, address: &str) -> Result<()> {
        self.measure("page: 1M hosts, worst first", Goal::None, 10, |_| {
            web::get(address, "/").map(drop)
        })?;
        let mut reader = reader(url).await?;
        for (name, goal, sql) in [
            ("worst 100 of 1M, fleet.worst", WORST, "fleet.worst(100)"),
            (
                "worst 100 of 1M, by error_digits",
                WORST,
                "fleet.host_now WHERE error_digits >= 9 ORDER BY greatest(-lo_ns, hi_ns) DESC LIMIT 100",
            ),
            ("worst 100 of 1M, fleet.widest", WORST, "fleet.widest(100)"),
            (
                "worst 100 of 1M, plain ORDER BY",
                Goal::None,
                "fleet.host_now ORDER BY greatest(-lo_ns, hi_ns) DESC NULLS LAST LIMIT 100",
            ),
        ] {
            self.ask(name, goal, 20, async |_| {
                let query = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {sql}")));
                ensure!(query.fetch_all(&mut reader).await?.len() == 100, "not a hundred");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        name: &str,
        goal: Goal,
        times: u32,
        mut ask: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let mut round = || {
            (0..times as usize)
                .map(|n| {
                    let began = Instant::now();
                    ask(n).map(|()| began.elapsed().as_secs_f64() * 1e3)
                })
                .collect::<Result<Vec<_>>>()
        };
        let (first, again) = (round()?, round()?);
        self.keep(name, goal, first, again);
        Ok(())
    }

    async fn ask(
        &mut self,
        name: &str,
        goal: Goal,
        times: usize,
        mut ask: impl AsyncFnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let mut rounds = [Vec::new(), Vec::new()];
        for round in &mut rounds {
            for n in 0..times {
                let began = Instant::now();
                ask(n).await?;
                round.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        let [first, again] = rounds;
        self.keep(name, goal, first, again);
        Ok(())
    }

    fn keep(&mut self, name: &str, goal: Goal, first: Vec<f64>, again: Vec<f64>) {
        let times = first.len();
        let (first, again) = (Spread::of(first), Spread::of(again));
        let row = Row { name: name.to_owned(), times, first, again, goal };
        println!("{}", row.text());
        self.figures.rows.push(row);
    }

    fn host(&mut self, day: &Day) -> i64 {
        self.random.between(1, i64::from(day.hosts) + 1)
    }

    /// One with rollups of a year.
    fn old_host(&mut self, day: &Day) -> i64 {
        let every = i64::from(day.every);
        (self.host(day) - 1) / every * every + 1
    }
}

async fn reader(url: &PgConnectOptions) -> Result<PgConnection> {
    let mut reader = url.connect().await?;
    for set in ["SET ROLE fleet_reader", "SET default_transaction_read_only = on"] {
        sqlx::query(set).execute(&mut reader).await?;
    }
    reader.ping().await?;
    Ok(reader)
}

fn name_of_host(host: i64) -> String {
    format!("bench-{host:07}")
}

/// SplitMix64: the same questions in every run.
struct Random(u64);

impl Random {
    /// From `from` to below `to`.
    fn between(&mut self, from: i64, to: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + ((z ^ (z >> 31)) % (to - from).max(1) as u64) as i64
    }
}
