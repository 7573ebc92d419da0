//! The fleet page: every host with its newest window, worst first.

use std::collections::HashMap;

use uuid::Uuid;

use super::At;
use crate::Store;

/// So many hosts are sorted without looking for the worst of them first.
const FEW_HOSTS: i64 = 20_000;

/// What to show of the fleet.
#[derive(Clone, Debug)]
pub struct FleetQuery {
    /// Part of a host name, any case; empty: every host.
    pub name: String,
    /// The service, exactly; empty: every service.
    pub service: String,
    /// The answer's word; empty: every answer.
    pub answer: String,
    /// Order of the rows.
    pub sort: FleetSort,
    /// From the other end.
    pub descending: bool,
    /// Rows left out at the start.
    pub skip: i64,
    /// Rows shown at most.
    pub take: i64,
}

/// Order of the rows of the fleet page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetSort {
    /// By answer, most urgent first, then by magnitude of the error.
    Worst,
    /// By host name.
    Host,
    /// By service, then name.
    Service,
    /// By how long the answer has been this one.
    Since,
    /// By the point estimate.
    Offset,
    /// By the width of the window.
    Width,
    /// By the word of the synchronisation state.
    State,
    /// By the selected source.
    Source,
    /// By the time of the newest report.
    Report,
}

impl FleetSort {
    /// Every order.
    pub const ALL: [Self; 9] = [
        Self::Worst,
        Self::Host,
        Self::Service,
        Self::Since,
        Self::Offset,
        Self::Width,
        Self::State,
        Self::Source,
        Self::Report,
    ];

    /// The word in the URL and in the query below.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Worst => "worst",
            Self::Host => "host",
            Self::Service => "service",
            Self::Since => "since",
            Self::Offset => "offset",
            Self::Width => "width",
            Self::State => "state",
            Self::Source => "source",
            Self::Report => "report",
        }
    }
}

/// One row of the fleet page.
#[derive(Clone, Debug)]
pub struct FleetRow {
    host_id: i64,
    /// Identity.
    pub host_uuid: Uuid,
    /// Name as the agent reports it.
    pub name: String,
    /// Service; empty: none configured.
    pub service: String,
    /// Whether it is a host of truechimer-fleet.
    pub simulated: bool,
    /// Whether its credential was revoked.
    pub revoked: bool,
    /// Word of the drift rule's answer.
    pub answer: String,
    /// Whether it has not reported within the silence limit.
    pub silent: bool,
    /// Since when the answer has been this one; null: not judged yet.
    pub since: Option<At>,
    /// Limit of the drift rule, ns.
    pub budget_ns: Option<i64>,
    /// Point estimate of the error, ns.
    pub offset_ns: Option<i64>,
    /// Least possible error, ns.
    pub lo_ns: Option<i64>,
    /// Greatest possible error, ns.
    pub hi_ns: Option<i64>,
    /// Word of the synchronisation state; null: never reported.
    pub state: Option<String>,
    /// Name of the source the window rests on first.
    pub source: Option<String>,
    /// Sources configured.
    pub sources: i64,
    /// Sources that answered at least one of their last eight polls.
    pub reachable: i64,
    /// The kernel's own bound, ns.
    pub kernel_max_error_ns: Option<i64>,
    /// Whether the kernel says synchronised.
    pub kernel_synchronised: Option<bool>,
    /// When the newest batch came in.
    pub received_at: Option<At>,
}

/// Hosts by answer, within the name and service asked for.
#[derive(Clone, Debug, Default)]
pub struct FleetCounts {
    /// Outside the budget for certain.
    pub certain: i64,
    /// Perhaps outside.
    pub possible: i64,
    /// No usable data.
    pub unknown: i64,
    /// Inside for certain.
    pub safe: i64,
    /// Every host enrolled, whatever was asked for.
    pub enrolled: i64,
    /// Hosts that no evaluation has seen yet; `None`: not counted, for a part of the fleet was asked for.
    unjudged: Option<i64>,
}

impl Store {
    /// The rows asked for; `counts` are those of the same query.
    pub async fn fleet_rows(
        &self,
        query: &FleetQuery,
        counts: &FleetCounts,
    ) -> Result<Vec<FleetRow>, sqlx::Error> {
        let every = query.name.is_empty() && query.service.is_empty();
        // Whom nobody has judged, no index finds.
        let judged = counts.unjudged == Some(0);
        let hosts = if every && judged && query.sort == FleetSort::Worst && !query.descending {
            self.worst_hosts(query, counts).await?
        } else {
            self.hosts_in_order(query).await?
        };
        let mut rows = self.rows_of(&hosts).await?;
        self.add_sources(&mut rows).await?;
        Ok(rows)
    }

    /// The hosts shown of the whole fleet, worst first: answer by answer, without reading all.
    async fn worst_hosts(
        &self,
        query: &FleetQuery,
        counts: &FleetCounts,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let (mut skip, mut hosts) = (query.skip, Vec::new());
        for (answer, count) in [
            ("certain", counts.certain),
            ("possible", counts.possible),
            ("unknown", counts.unknown),
            ("safe", counts.safe),
        ] {
            if !query.answer.is_empty() && query.answer != answer {
                continue;
            }
            let take = query.take - hosts.len() as i64;
            if skip < count && take > 0 {
                hosts.extend(self.worst_with(answer, count, skip, take).await?);
            }
            skip = (skip - count).max(0);
        }
        Ok(hosts)
    }

    /// Those of one answer, which `count` hosts have, the greatest error first.
    async fn worst_with(
        &self,
        answer: &str,
        count: i64,
        skip: i64,
        take: i64,
    ) -> Result<Vec<i64>, sqlx::Error> {
        // To be among the first hosts, one needs as many digits as the last of any so many hosts has.
        let digits = if count > FEW_HOSTS {
            sqlx::query_scalar!(
                r#"SELECT s.error_digits AS "digits!"
                   FROM store.assessment a JOIN store.host_state s USING (host_id)
                   WHERE a.answer = $1 AND s.error_digits IS NOT NULL
                   ORDER BY s.error_digits DESC OFFSET $2 LIMIT 1"#,
                answer,
                skip + take - 1
            )
            .fetch_optional(&self.pool)
            .await?
        } else {
            None
        };
        // Names only of those that are shown, and of their equals.
        sqlx::query_scalar!(
            r#"SELECT h.host_id AS "host!"
               FROM (SELECT host_id, error, rank() OVER (ORDER BY error DESC NULLS LAST) AS place
                     FROM (SELECT a.host_id, CASE WHEN s.error_digits IS NOT NULL
                                                  THEN store.magnitude(s.lo_ns, s.hi_ns) END AS error
                           FROM store.assessment a LEFT JOIN store.host_state s USING (host_id)
                           WHERE a.answer = $1 AND ($4::int2 IS NULL OR s.error_digits >= $4)) every) first
               JOIN store.host h USING (host_id)
               WHERE first.place <= $2::int8 + $3
               ORDER BY first.error DESC NULLS LAST, h.name, h.host_id
               OFFSET $2 LIMIT $3"#,
            answer,
            skip,
            take,
            digits
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The hosts shown, in any order and of any part of the fleet.
    async fn hosts_in_order(&self, query: &FleetQuery) -> Result<Vec<i64>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            SELECT h.host_id AS "host!"
            FROM store.host h
            LEFT JOIN store.host_state s USING (host_id)
            LEFT JOIN store.assessment a USING (host_id)
            -- Not LATERAL, which Citus does not join to a table that is on every node. Every host's is wanted
            -- only where they are sorted by it.
            LEFT JOIN (
                SELECT c.host_id, (array_agg(c.name ORDER BY c.position))[1] AS first
                FROM store.source_state c WHERE $4 = 'source' AND c.verdict = 'selected'
                GROUP BY c.host_id) every USING (host_id)
            WHERE ($1 = '' OR strpos(lower(h.name), lower($1)) > 0)
              AND ($2 = '' OR h.service = $2)
              AND ($3 = '' OR coalesce(a.answer, 'unknown') = $3)
            ORDER BY
              CASE WHEN $4 = 'worst' THEN
                (CASE coalesce(a.answer, 'unknown')
                   WHEN 'certain' THEN 0 WHEN 'possible' THEN 1 WHEN 'unknown' THEN 2 ELSE 3 END)
                * (CASE WHEN $5 THEN -1 ELSE 1 END) END,
              CASE WHEN NOT $5 THEN
                CASE $4 WHEN 'host' THEN h.name WHEN 'service' THEN h.service
                        WHEN 'state' THEN store.state_word(s.state) WHEN 'source' THEN every.first END
              END NULLS LAST,
              CASE WHEN $5 THEN
                CASE $4 WHEN 'host' THEN h.name WHEN 'service' THEN h.service
                        WHEN 'state' THEN store.state_word(s.state) WHEN 'source' THEN every.first END
              END DESC NULLS LAST,
              CASE $4
                WHEN 'worst' THEN -greatest(abs(s.lo_ns::numeric), abs(s.hi_ns::numeric))
                WHEN 'offset' THEN s.offset_ns WHEN 'width' THEN s.hi_ns::numeric - s.lo_ns
                WHEN 'since' THEN extract(epoch FROM a.since)
                WHEN 'report' THEN extract(epoch FROM s.received_at) END
              * (CASE WHEN $5 THEN -1 ELSE 1 END) NULLS LAST,
              h.name, h.host_id
            OFFSET $6 LIMIT $7
            "#,
            query.name,
            query.service,
            query.answer,
            query.sort.word(),
            query.descending,
            query.skip,
            query.take,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// What is shown of these hosts, in their order.
    async fn rows_of(&self, hosts: &[i64]) -> Result<Vec<FleetRow>, sqlx::Error> {
        let mut rows = sqlx::query_as!(
            FleetRow,
            r#"
            SELECT h.host_id AS "host_id!", h.host_uuid AS "host_uuid!", h.name AS "name!", h.service AS "service!",
                   h.simulated AS "simulated!",
                   h.revoked_at IS NOT NULL          AS "revoked!",
                   coalesce(a.answer, 'unknown')     AS "answer!",
                   coalesce(a.silent, s.host_id IS NULL) AS "silent!",
                   a.since                           AS "since?: At",
                   a.budget_ns                       AS "budget_ns?",
                   s.offset_ns AS "offset_ns?", s.lo_ns AS "lo_ns?", s.hi_ns AS "hi_ns?",
                   store.state_word(s.state)         AS "state?",
                   NULL::text                        AS "source?",
                   0::int8                           AS "sources!",
                   0::int8                           AS "reachable!",
                   s.kernel_max_error_ns             AS "kernel_max_error_ns?",
                   s.kernel_synchronised             AS "kernel_synchronised?",
                   s.received_at                     AS "received_at?: At"
            FROM store.host h
            LEFT JOIN store.host_state s USING (host_id)
            LEFT JOIN store.assessment a USING (host_id)
            WHERE h.host_id = ANY($1)
            "#,
            hosts
        )
        .fetch_all(&self.pool)
        .await?;
        let places: HashMap<i64, usize> =
            hosts.iter().enumerate().map(|(place, host)| (*host, place)).collect();
        rows.sort_by_key(|row| places.get(&row.host_id).copied());
        Ok(rows)
    }

    /// What there is to say of the sources of the hosts that are shown.
    async fn add_sources(&self, rows: &mut [FleetRow]) -> Result<(), sqlx::Error> {
        let hosts: Vec<i64> = rows.iter().map(|row| row.host_id).collect();
        let found = sqlx::query!(
            r#"SELECT c.host_id, count(*) AS "sources!", count(*) FILTER (WHERE c.reach <> 0) AS "reachable!",
                      (array_agg(c.name ORDER BY c.position) FILTER (WHERE c.verdict = 'selected'))[1] AS first
               FROM store.source_state c WHERE c.host_id = ANY($1) GROUP BY c.host_id"#,
            &hosts
        )
        .fetch_all(&self.pool)
        .await?;
        let found: HashMap<i64, _> = found.into_iter().map(|of| (of.host_id, of)).collect();
        for row in rows {
            if let Some(of) = found.get(&row.host_id) {
                (row.sources, row.reachable) = (of.sources, of.reachable);
                row.source.clone_from(&of.first);
            }
        }
        Ok(())
    }

    /// How many hosts have which answer, within the name and service asked for.
    pub async fn fleet_counts(&self, query: &FleetQuery) -> Result<FleetCounts, sqlx::Error> {
        if query.name.is_empty() && query.service.is_empty() {
            return self.counts_of_all().await;
        }
        sqlx::query_as!(
            FleetCounts,
            r#"
            SELECT count(*) FILTER (WHERE asked AND answer = 'certain')  AS "certain!",
                   count(*) FILTER (WHERE asked AND answer = 'possible') AS "possible!",
                   count(*) FILTER (WHERE asked AND answer = 'unknown')  AS "unknown!",
                   count(*) FILTER (WHERE asked AND answer = 'safe')     AS "safe!",
                   count(*)                                              AS "enrolled!",
                   NULL::int8                                            AS unjudged
            FROM (SELECT coalesce(a.answer, 'unknown') AS answer,
                         ($1 = '' OR strpos(lower(h.name), lower($1)) > 0)
                         AND ($2 = '' OR h.service = $2) AS asked
                  FROM store.host h LEFT JOIN store.assessment a USING (host_id)) every
            "#,
            query.name,
            query.service,
        )
        .fetch_one(&self.pool)
        .await
    }

    /// As `fleet_counts` of every host, from two indexes.
    async fn counts_of_all(&self) -> Result<FleetCounts, sqlx::Error> {
        sqlx::query_as!(
            FleetCounts,
            r#"
            SELECT certain AS "certain!", possible AS "possible!", enrolled - certain - possible - safe AS "unknown!",
                   safe AS "safe!", enrolled AS "enrolled!", enrolled - judged AS unjudged
            FROM (SELECT coalesce(sum(hosts) FILTER (WHERE answer = 'certain'), 0)::int8  AS certain,
                         coalesce(sum(hosts) FILTER (WHERE answer = 'possible'), 0)::int8 AS possible,
                         coalesce(sum(hosts) FILTER (WHERE answer = 'safe'), 0)::int8     AS safe,
                         coalesce(sum(hosts), 0)::int8                                    AS judged
                  FROM (SELECT answer, count(*) AS hosts FROM store.assessment GROUP BY answer) a) answers
            CROSS JOIN (SELECT count(*) AS enrolled FROM store.host) h
            "#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Every service that has a host, in order of name: one look into the index for each.
    pub async fn services(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            WITH RECURSIVE next (service) AS (
                SELECT min(service) FROM store.host WHERE service > ''
                UNION ALL
                SELECT (SELECT min(h.service) FROM store.host h WHERE h.service > n.service)
                FROM next n WHERE n.service IS NOT NULL)
            SELECT service AS "service!" FROM next WHERE service IS NOT NULL ORDER BY 1
            "#
        )
        .fetch_all(&self.pool)
        .await
    }
}
