-- For those who run the database and those who ask it: when it was backed up, and views that answer
-- the questions of every day.

CREATE TABLE store.backup (
    backup_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at   timestamptz NOT NULL,           -- when it began: what it holds is of this moment
    took_ms   int8 NOT NULL,
    bytes     int8 NOT NULL,
    file      text NOT NULL
);

-- Views of every day -------------------------------------------------------------------------------

CREATE VIEW fleet.drifting AS
SELECT n.host, n.service, n.answer,
       CASE WHEN n.hi_ns - n.budget_ns >= -n.budget_ns - n.lo_ns THEN 'ahead' ELSE 'behind' END AS direction,
       greatest(n.lo_ns - n.budget_ns, -n.budget_ns - n.hi_ns, 0) AS certain_excess_ns,
       greatest(n.hi_ns - n.budget_ns, -n.budget_ns - n.lo_ns, 0) AS possible_excess_ns,
       n.offset_ns, n.lo_ns, n.hi_ns, n.budget_ns, n.since, n.sampled_at, n.simulated, n.host_uuid
FROM fleet.host_now n WHERE n.answer IN ('certain', 'possible');

COMMENT ON VIEW fleet.drifting IS 'Hosts whose clock is outside its budget, for certain or possibly: by how much and since when.';
COMMENT ON COLUMN fleet.drifting.host IS 'Host name.';
COMMENT ON COLUMN fleet.drifting.service IS 'Group of hosts that depend on one another''s time.';
COMMENT ON COLUMN fleet.drifting.answer IS 'certain: the whole window is outside the budget; possible: a part of it is.';
COMMENT ON COLUMN fleet.drifting.direction IS 'ahead or behind: the side on which more of the window is outside.';
COMMENT ON COLUMN fleet.drifting.certain_excess_ns IS 'The clock is outside its budget by at least so much; 0 where it is only possible.';
COMMENT ON COLUMN fleet.drifting.possible_excess_ns IS 'The clock is outside its budget by at most so much.';
COMMENT ON COLUMN fleet.drifting.offset_ns IS 'Point estimate of the clock''s error; positive = ahead of UTC.';
COMMENT ON COLUMN fleet.drifting.lo_ns IS 'Least possible error (worst case).';
COMMENT ON COLUMN fleet.drifting.hi_ns IS 'Greatest possible error (worst case).';
COMMENT ON COLUMN fleet.drifting.budget_ns IS 'The limit, on either side.';
COMMENT ON COLUMN fleet.drifting.since IS 'Since when the answer has been this one.';
COMMENT ON COLUMN fleet.drifting.sampled_at IS 'When the window was measured.';
COMMENT ON COLUMN fleet.drifting.simulated IS 'True for hosts of truechimer-fleet.';
COMMENT ON COLUMN fleet.drifting.host_uuid IS 'The host''s identity.';

CREATE VIEW fleet.silent AS
SELECT n.host, n.service, n.received_at AS last_report_at, now() - n.received_at AS silent_for,
       n.state AS last_state, n.agent_version, n.simulated, n.host_uuid
FROM fleet.host_now n WHERE n.silent AND n.revoked_at IS NULL;

COMMENT ON VIEW fleet.silent IS 'Hosts that should report and do not. Nothing is known of their clocks now.';
COMMENT ON COLUMN fleet.silent.host IS 'Host name.';
COMMENT ON COLUMN fleet.silent.service IS 'Group of hosts that depend on one another''s time.';
COMMENT ON COLUMN fleet.silent.last_report_at IS 'When its last report came in; null: it enrolled and never reported.';
COMMENT ON COLUMN fleet.silent.silent_for IS 'For how long it has said nothing.';
COMMENT ON COLUMN fleet.silent.last_state IS 'State of its last report.';
COMMENT ON COLUMN fleet.silent.agent_version IS 'Version of its agent.';
COMMENT ON COLUMN fleet.silent.simulated IS 'True for hosts of truechimer-fleet.';
COMMENT ON COLUMN fleet.silent.host_uuid IS 'The host''s identity.';

-- Windows of silent hosts are of the past: they take no part.
CREATE VIEW fleet.windows_by_service AS
SELECT n.service,
       count(*)                                          AS hosts,
       count(n.lo_ns) FILTER (WHERE NOT n.silent)        AS hosts_with_window,
       count(*) FILTER (WHERE n.silent)                  AS hosts_silent,
       count(*) FILTER (WHERE n.answer = 'certain')      AS hosts_certain,
       count(*) FILTER (WHERE n.answer = 'possible')     AS hosts_possible,
       count(*) FILTER (WHERE n.answer = 'unknown')      AS hosts_unknown,
       max(n.width_ns) FILTER (WHERE NOT n.silent)       AS widest_ns,
       min(n.lo_ns) FILTER (WHERE NOT n.silent)          AS lo_ns,
       max(n.hi_ns) FILTER (WHERE NOT n.silent)          AS hi_ns,
       CASE WHEN count(n.lo_ns) FILTER (WHERE NOT n.silent) > 1
            THEN max(n.hi_ns) FILTER (WHERE NOT n.silent) - min(n.lo_ns) FILTER (WHERE NOT n.silent)
       END                                               AS greatest_skew_ns
FROM fleet.host_now n WHERE n.revoked_at IS NULL GROUP BY n.service;

COMMENT ON VIEW fleet.windows_by_service IS 'One row per service: how far apart the clocks of its hosts can be now.';
COMMENT ON COLUMN fleet.windows_by_service.service IS 'Group of hosts that depend on one another''s time; empty: hosts without one.';
COMMENT ON COLUMN fleet.windows_by_service.hosts IS 'Hosts with a valid credential.';
COMMENT ON COLUMN fleet.windows_by_service.hosts_with_window IS 'Hosts that report and have a window: those that the other columns speak of.';
COMMENT ON COLUMN fleet.windows_by_service.hosts_silent IS 'Hosts that do not report.';
COMMENT ON COLUMN fleet.windows_by_service.hosts_certain IS 'Hosts outside their budget for certain.';
COMMENT ON COLUMN fleet.windows_by_service.hosts_possible IS 'Hosts possibly outside their budget.';
COMMENT ON COLUMN fleet.windows_by_service.hosts_unknown IS 'Hosts of which nothing usable is known; never to be read as safe.';
COMMENT ON COLUMN fleet.windows_by_service.widest_ns IS 'Width of the widest window.';
COMMENT ON COLUMN fleet.windows_by_service.lo_ns IS 'Least possible error of any of its hosts.';
COMMENT ON COLUMN fleet.windows_by_service.hi_ns IS 'Greatest possible error of any of its hosts.';
COMMENT ON COLUMN fleet.windows_by_service.greatest_skew_ns IS 'No two of its clocks differ by more; null: fewer than two have a window.';

CREATE VIEW fleet.grandmasters_now AS
SELECT s.kind, s.address, s.stratum, s.reference_id,
       count(DISTINCT s.host_uuid)                                                           AS hosts,
       count(DISTINCT s.host_uuid) FILTER (WHERE s.verdict IN ('selected', 'combined'))      AS hosts_using,
       count(DISTINCT s.host_uuid) FILTER (WHERE s.verdict IN ('falseticker', 'outlier'))    AS hosts_disagreeing,
       count(DISTINCT s.host_uuid) FILTER (WHERE s.verdict = 'unreachable')                  AS hosts_unreachable,
       max(abs(s.offset_ns)) FILTER (WHERE s.verdict IN ('selected', 'combined'))            AS worst_offset_ns,
       min(s.root_dispersion_ns)                                                             AS least_root_dispersion_ns,
       max(s.delay_ns) FILTER (WHERE s.verdict IN ('selected', 'combined'))                  AS greatest_delay_ns
FROM fleet.sources_now s GROUP BY s.kind, s.address, s.stratum, s.reference_id;

COMMENT ON VIEW fleet.grandmasters_now IS 'Where the fleet''s time comes from: one row per server as it now describes itself, with how many hosts it feeds. A server that changes its own reference is a new row.';
COMMENT ON COLUMN fleet.grandmasters_now.kind IS 'ntp (a server), sock or shm (samples of a program on the host), pps (a pulse per second), phc (a hardware clock of PTP).';
COMMENT ON COLUMN fleet.grandmasters_now.address IS 'Address in use; of a source on the host, its device or socket.';
COMMENT ON COLUMN fleet.grandmasters_now.stratum IS 'Stratum that it claims; 0 when unknown.';
COMMENT ON COLUMN fleet.grandmasters_now.reference_id IS 'Reference id that it claims, as four bytes.';
COMMENT ON COLUMN fleet.grandmasters_now.hosts IS 'Hosts that are configured with it.';
COMMENT ON COLUMN fleet.grandmasters_now.hosts_using IS 'Hosts whose time it takes part in (selected or combined).';
COMMENT ON COLUMN fleet.grandmasters_now.hosts_disagreeing IS 'Hosts that take it for a falseticker or an outlier.';
COMMENT ON COLUMN fleet.grandmasters_now.hosts_unreachable IS 'Hosts that it does not answer.';
COMMENT ON COLUMN fleet.grandmasters_now.worst_offset_ns IS 'Greatest error, either way, of a host that uses it, by this source alone.';
COMMENT ON COLUMN fleet.grandmasters_now.least_root_dispersion_ns IS 'Least error that it claimed of itself in the newest reports.';
COMMENT ON COLUMN fleet.grandmasters_now.greatest_delay_ns IS 'Greatest network delay both ways of a host that uses it.';

CREATE VIEW fleet.findings AS
SELECT f.rule, f.policy, f.answer, h.name AS host, p.name AS peer, f.summary, f.consequence, f.advice,
       f.lo_ns, f.hi_ns, f.limit_ns, f.evidence, f.since, f.seen_at,
       h.host_uuid, p.host_uuid AS peer_uuid
FROM store.finding f LEFT JOIN store.host h ON h.host_id = f.host_id
                     LEFT JOIN store.host p ON p.host_id = f.peer_id;

COMMENT ON VIEW fleet.findings IS 'What the rules find now: everything that is not safe, and the answer of every pair policy even when it is. A finding becomes an alert by the times in the configuration.';
COMMENT ON COLUMN fleet.findings.rule IS 'drift, silent, token-skew or log-skew.';
COMMENT ON COLUMN fleet.findings.policy IS 'Name of the policy in the collector''s configuration.';
COMMENT ON COLUMN fleet.findings.answer IS 'certain, possible, safe or unknown.';
COMMENT ON COLUMN fleet.findings.host IS 'Host it is about; null: a policy with no usable pair.';
COMMENT ON COLUMN fleet.findings.peer IS 'The other host of a pair.';
COMMENT ON COLUMN fleet.findings.summary IS 'What is, by how much.';
COMMENT ON COLUMN fleet.findings.consequence IS 'What breaks.';
COMMENT ON COLUMN fleet.findings.advice IS 'What to do.';
COMMENT ON COLUMN fleet.findings.lo_ns IS 'Lower end of the interval compared.';
COMMENT ON COLUMN fleet.findings.hi_ns IS 'Upper end of the interval compared.';
COMMENT ON COLUMN fleet.findings.limit_ns IS 'Limit it was compared with.';
COMMENT ON COLUMN fleet.findings.evidence IS 'The measurements behind it.';
COMMENT ON COLUMN fleet.findings.since IS 'Since when the answer has been this one.';
COMMENT ON COLUMN fleet.findings.seen_at IS 'When the rules last looked.';
COMMENT ON COLUMN fleet.findings.host_uuid IS 'The host''s identity.';
COMMENT ON COLUMN fleet.findings.peer_uuid IS 'The other host''s identity.';

-- Neither address nor secret of an endpoint is in the database: only its name.
CREATE VIEW fleet.deliveries AS
SELECT o.message_id, t.alert_id, o.endpoint, t.reason, t.answer, t.summary, o.status, o.attempts,
       o.created_at, CASE WHEN o.status = 'pending' THEN o.next_attempt_at END AS next_attempt_at,
       o.finished_at, d.at AS last_attempt_at, d.http_status AS last_http_status,
       d.error AS last_error, d.duration_ms AS last_duration_ms
FROM store.outbox o
JOIN store.alert_transition t USING (transition_id)
LEFT JOIN LATERAL (SELECT * FROM store.delivery_attempt a WHERE a.message_id = o.message_id
                   ORDER BY a.attempt DESC LIMIT 1) d ON true;

COMMENT ON VIEW fleet.deliveries IS 'Messages to webhooks: what became of each, with its last attempt.';
COMMENT ON COLUMN fleet.deliveries.message_id IS 'Identity of the message, also its webhook-id header.';
COMMENT ON COLUMN fleet.deliveries.alert_id IS 'The alert it tells of.';
COMMENT ON COLUMN fleet.deliveries.endpoint IS 'Name of the webhook in the collector''s configuration.';
COMMENT ON COLUMN fleet.deliveries.reason IS 'What happened to the alert: opened, worsened, eased, resolved.';
COMMENT ON COLUMN fleet.deliveries.answer IS 'Its answer then.';
COMMENT ON COLUMN fleet.deliveries.summary IS 'Its summary then.';
COMMENT ON COLUMN fleet.deliveries.status IS 'pending, delivered, or parked (given up).';
COMMENT ON COLUMN fleet.deliveries.attempts IS 'How often it was tried.';
COMMENT ON COLUMN fleet.deliveries.created_at IS 'When the message was made.';
COMMENT ON COLUMN fleet.deliveries.next_attempt_at IS 'When a pending one is tried next.';
COMMENT ON COLUMN fleet.deliveries.finished_at IS 'When it was delivered or parked.';
COMMENT ON COLUMN fleet.deliveries.last_attempt_at IS 'When it was last tried; null: never yet.';
COMMENT ON COLUMN fleet.deliveries.last_http_status IS 'The answer to that attempt; null: there was none.';
COMMENT ON COLUMN fleet.deliveries.last_error IS 'Why that attempt failed.';
COMMENT ON COLUMN fleet.deliveries.last_duration_ms IS 'How long that attempt took.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fleet_reader') THEN
        GRANT SELECT ON fleet.drifting, fleet.silent, fleet.windows_by_service, fleet.grandmasters_now,
                        fleet.findings, fleet.deliveries TO fleet_reader;
    END IF;
END $$;
