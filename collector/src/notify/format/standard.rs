//! The payload shape that Standard Webhooks recommends: `type`, `timestamp`, `data`.

use serde_json::json;
use store::outbox::Notice;
use timebase::Timestamp;

/// The body of one message. Every number of nanoseconds says so in its name; `data.lo_ns` to
/// `data.hi_ns` is the interval compared with `data.limit_ns`, positive = ahead.
pub(super) fn body(notice: &Notice) -> Vec<u8> {
    let body = json!({
        "type": format!("alert.{}", notice.reason),
        "timestamp": time(notice.at_ns),
        "data": {
            "alert_id": notice.alert_id,
            "key": notice.key,
            "rule": notice.rule,
            "policy": notice.policy,
            "answer": notice.answer,
            "host": notice.host,
            "service": notice.service,
            "peer": notice.peer,
            "simulated": notice.simulated,
            "summary": notice.summary,
            "consequence": notice.consequence,
            "advice": notice.advice,
            "lo_ns": notice.lo_ns,
            "hi_ns": notice.hi_ns,
            "limit_ns": notice.limit_ns,
            "opened_at": time(notice.opened_at_ns),
        },
    });
    body.to_string().into_bytes()
}

/// RFC 3339, UTC.
fn time(ns: i64) -> String {
    store::time::to_jiff(Timestamp::from_ns(ns)).to_string()
}
