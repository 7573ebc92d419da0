-- Private schema `store`: what the collector keeps. People read schema `fleet` (0002).
-- Conventions: *_ns is int8 nanoseconds; an error is host clock − UTC, positive = ahead.
-- Enumerations are the numbers of proto/fleet/v1/report.proto. Every unique key of a table that grows
-- with the fleet holds host_id.

CREATE SCHEMA store;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- Identity -----------------------------------------------------------------------------------------

CREATE TABLE store.host (
    host_id         int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_uuid       uuid NOT NULL UNIQUE,
    name            text NOT NULL,
    service         text NOT NULL DEFAULT '',
    labels          jsonb NOT NULL DEFAULT '{}',
    simulated       bool NOT NULL DEFAULT false,
    agent_version   text NOT NULL DEFAULT '',
    credential_hash bytea NOT NULL,           -- SHA-256 of the credential; the credential is not kept
    enrolled_at     timestamptz NOT NULL DEFAULT now(),
    credential_used_at timestamptz,           -- first session under this credential; null: none yet
    revoked_at      timestamptz,
    boots           int4 NOT NULL DEFAULT 0   -- boots seen so far; numbers store.boot.boot_no
);
CREATE UNIQUE INDEX host_credential ON store.host (credential_hash);
CREATE INDEX host_name ON store.host (name);

CREATE TABLE store.join_token (
    token_id    int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash  bytea NOT NULL UNIQUE,
    label       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,                  -- null: never
    uses_left   int4,                         -- null: unlimited
    revoked_at  timestamptz
);

CREATE TABLE store.user_account (
    user_id       int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    password_hash text NOT NULL,              -- argon2id, PHC string
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE store.web_session (
    session_hash bytea PRIMARY KEY,           -- SHA-256 of the cookie
    user_id      int8 NOT NULL REFERENCES store.user_account ON DELETE CASCADE,
    csrf_token   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);

-- Measurements -------------------------------------------------------------------------------------

-- The watermark that makes re-sends free: written in the same transaction as the samples.
CREATE TABLE store.boot (
    host_id    int8 NOT NULL REFERENCES store.host,
    boot_id    uuid NOT NULL,
    boot_no    int4 NOT NULL,                 -- 1, 2, 3 … in the order this collector met them
    last_seq   int8 NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (host_id, boot_id),
    UNIQUE (host_id, boot_no)
);

-- ref_time is the collector's own time for the sample (receipt − age on the host's raw clock), never
-- the host's claim: a host ten years ahead stays inside the partitions.
CREATE TABLE store.sample (
    host_id         int8 NOT NULL,
    ref_time        timestamptz NOT NULL,
    seq             int8 NOT NULL,
    host_ns         int8 NOT NULL,            -- CLOCK_REALTIME of the host
    raw_ns          int8 NOT NULL,            -- CLOCK_MONOTONIC_RAW of the host at that moment
    lo_ns           int8,                     -- worst-case bounds; null: no window
    hi_ns           int8,
    offset_ns       int8,                     -- point estimate
    sigma_ns        int8,                     -- its standard deviation
    frequency_ppb   int8,                     -- raw oscillator against UTC
    boot_no         int4 NOT NULL,
    steps           int4 NOT NULL,            -- with boot_no: the clock epoch
    state           int2 NOT NULL,
    sources_used    int2 NOT NULL,            -- sources that took part in the window
    PRIMARY KEY (host_id, ref_time, boot_no, seq)
) PARTITION BY RANGE (ref_time);

-- One row per host, updated in place: no index on a column that changes.
CREATE TABLE store.host_state (
    host_id             int8 PRIMARY KEY REFERENCES store.host,
    ref_time            timestamptz NOT NULL, -- of the newest sample
    received_at         timestamptz NOT NULL, -- when the last batch came in
    seq                 int8 NOT NULL,
    host_ns             int8 NOT NULL,
    raw_ns              int8 NOT NULL,
    lo_ns               int8,
    hi_ns               int8,
    offset_ns           int8,
    sigma_ns            int8,
    sigma_k             float8,
    estimate_samples    int4,
    frequency_ppb       int8,
    frequency_sigma_ppb int8,
    drift_limit_ppb     int8 NOT NULL,
    kernel_max_error_ns       int8 NOT NULL,
    kernel_estimated_error_ns int8 NOT NULL,
    kernel_frequency_ppb      int8 NOT NULL,
    kernel_status             int8 NOT NULL,
    kernel_synchronised       bool NOT NULL,
    tai_offset_s        int4 NOT NULL,
    boot_no             int4 NOT NULL,
    steps               int4 NOT NULL,
    state               int2 NOT NULL,
    leap                int2 NOT NULL,
    discipliner         int2 NOT NULL,
    witness_lo_ns       int8,                 -- host clock − collector clock, by the batch's own stamps
    witness_hi_ns       int8,
    witness_at          timestamptz
) WITH (fillfactor = 80);

CREATE TABLE store.source_state (
    host_id            int8 NOT NULL REFERENCES store.host,
    position           int2 NOT NULL,         -- place in the agent's list
    name               text NOT NULL,
    address            text NOT NULL,
    verdict            text NOT NULL,
    reach              int2 NOT NULL,
    poll_log2          int2 NOT NULL,
    lo_ns              int8,
    hi_ns              int8,
    offset_ns          int8,
    delay_ns           int8,
    jitter_ns          int8,
    stratum            int2 NOT NULL,
    reference_id       int8 NOT NULL,
    root_delay_ns      int8 NOT NULL,
    root_dispersion_ns int8 NOT NULL,
    frequency_ppb      int8,
    accepted           int8 NOT NULL,
    refused            int8 NOT NULL,
    leap               int2 NOT NULL,
    authentication     int2 NOT NULL,
    stamps             int2 NOT NULL,
    PRIMARY KEY (host_id, position)
) WITH (fillfactor = 80);

CREATE TABLE store.event (
    host_id  int8 NOT NULL REFERENCES store.host,
    boot_no  int4 NOT NULL,
    seq      int8 NOT NULL,                   -- of the report that carried it
    place    int2 NOT NULL,                   -- within that report
    ref_time timestamptz NOT NULL,
    host_ns  int8 NOT NULL,
    raw_ns   int8 NOT NULL,
    kind     text NOT NULL,                   -- step, source, leap, reboot, restart, suspend, dropped
    size_ns  int8,                            -- of a step or a suspend
    summary  text NOT NULL,                   -- one sentence
    PRIMARY KEY (host_id, boot_no, seq, place)
);
CREATE INDEX event_by_time ON store.event (host_id, ref_time);

-- What was refused, so that a host whose reports do not count is visible with the reason.
CREATE TABLE store.refusal (
    host_id int8 NOT NULL REFERENCES store.host,
    reason  text NOT NULL,
    count   int8 NOT NULL,
    last_at timestamptz NOT NULL,
    detail  text NOT NULL,
    PRIMARY KEY (host_id, reason)
);

-- Judgement ----------------------------------------------------------------------------------------

-- The drift rule's answer for every host, rewritten where it changed.
CREATE TABLE store.assessment (
    host_id   int8 PRIMARY KEY REFERENCES store.host,
    answer    text NOT NULL,                  -- certain, possible, safe, unknown
    budget_ns int8 NOT NULL,                  -- the limit it was compared with
    silent    bool NOT NULL,                  -- no report within the silence limit
    since     timestamptz NOT NULL
) WITH (fillfactor = 80);

-- Everything the rules find now that is not safe, plus every pair policy's answer even when safe.
CREATE TABLE store.finding (
    finding_key text PRIMARY KEY,             -- rule:policy:subject
    rule        text NOT NULL,                -- drift, silent, token-skew, log-skew
    policy      text NOT NULL,
    answer      text NOT NULL,
    summary     text NOT NULL,                -- what is, by how much
    consequence text NOT NULL,                -- what breaks
    advice      text NOT NULL,                -- what to do
    host_id     int8 REFERENCES store.host,   -- the host it is about; null: a policy with no usable pair
    peer_id     int8 REFERENCES store.host,   -- the other host of a pair
    lo_ns       int8,                         -- the interval compared
    hi_ns       int8,
    limit_ns    int8,                         -- the limit it was compared with
    evidence    jsonb NOT NULL DEFAULT '{}',
    since       timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL
);

CREATE TABLE store.alert (
    alert_id    int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finding_key text NOT NULL,
    rule        text NOT NULL,
    policy      text NOT NULL,
    answer      text NOT NULL,                -- the worst it has been while open
    status      text NOT NULL CHECK (status IN ('open', 'resolved')),
    summary     text NOT NULL,
    consequence text NOT NULL,
    advice      text NOT NULL,
    host_id     int8 REFERENCES store.host,
    peer_id     int8 REFERENCES store.host,
    lo_ns       int8,
    hi_ns       int8,
    limit_ns    int8,
    evidence    jsonb NOT NULL DEFAULT '{}',
    opened_at   timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX alert_open ON store.alert (finding_key) WHERE status = 'open';
CREATE INDEX alert_by_time ON store.alert (opened_at DESC);

CREATE TABLE store.alert_transition (
    transition_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id      int8 NOT NULL REFERENCES store.alert,
    at            timestamptz NOT NULL,
    reason        text NOT NULL,              -- opened, worsened, eased, resolved
    answer        text NOT NULL,
    summary       text NOT NULL
);
CREATE INDEX transition_by_alert ON store.alert_transition (alert_id, transition_id);

CREATE TABLE store.outbox (
    message_id      uuid PRIMARY KEY,         -- also the webhook-id header: the receiver's idempotency key
    transition_id   int8 NOT NULL REFERENCES store.alert_transition,
    endpoint        text NOT NULL,            -- name in the configuration
    payload         jsonb NOT NULL,
    status          text NOT NULL CHECK (status IN ('pending', 'delivered', 'parked')),
    attempts        int4 NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);
CREATE INDEX outbox_due ON store.outbox (next_attempt_at) WHERE status = 'pending';

CREATE TABLE store.delivery_attempt (
    message_id  uuid NOT NULL REFERENCES store.outbox,
    attempt     int4 NOT NULL,
    at          timestamptz NOT NULL,
    http_status int4,                         -- null: no answer
    error       text,
    duration_ms int8 NOT NULL,
    PRIMARY KEY (message_id, attempt)
);
