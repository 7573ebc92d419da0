use fleet_proto::{convert, lazy};
use store::ingest::{Batch, Dated};
use store::partitions::OLDEST_SAMPLE;
use timebase::{BootId, Bounds, Raw, Seq, Span, Timestamp, Utc};

use super::{Reason, witness};

/// What is known of a session when one of its batches comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The host's key.
    pub(super) host: i64,
    /// The boot that runs.
    pub(super) boot: BootId,
    /// Most reports in one batch.
    pub(super) max_batch: u32,
}

/// A batch of which some reports can be stored.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) batch: Batch,
    pub(super) refused: Vec<RefusedReport>,
    /// The witness stamps prove nothing but that they are wrong.
    pub(super) bad_witness: bool,
}

/// A report that can never be stored.
#[derive(Debug)]
pub(super) struct RefusedReport {
    pub(super) seq: u64,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// A batch that can never be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// How the reports of a batch are dated.
#[derive(Clone, Copy, Debug)]
enum Dating {
    /// Of the boot that runs: by their age when the batch was sent.
    ByAge { sent: Timestamp<Raw> },
    /// Of an earlier boot: by their own clock, but none is younger than the boot that runs.
    ByItself { youngest: Timestamp<Utc> },
}

/// Sorts a batch into what can be stored, each report with the collector's own time for it, and what
/// cannot. In the boot that runs no claim of the host's clock is believed: times come from the age on its
/// raw clock. A report of an earlier boot has only its own corrected clock to go by, but was made before the boot
/// that runs began.
pub(super) fn check(
    wire: lazy::Batch,
    context: Context,
    received_at: Timestamp<Utc>,
) -> Result<Checked, Refused> {
    let refuse = |reason, detail: String| Err(Refused { reason, detail });
    if wire.reports.len() > context.max_batch as usize {
        let (n, most) = (wire.reports.len(), context.max_batch);
        return refuse(Reason::BatchTooLarge, format!("{n} reports; at most {most} are taken"));
    }
    let boot = match convert::id16(&wire.boot_id, "boot_id") {
        Ok(bytes) => BootId::from_bytes(bytes),
        Err(error) => return refuse(Reason::Malformed, error.to_string()),
    };
    let current = boot == context.boot;
    let sent_raw = match (current, wire.sent_raw_ns) {
        (true, Some(ns)) => Some(Timestamp::<Raw>::from_ns(ns)),
        (false, None) => None,
        (true, None) => {
            return refuse(
                Reason::BadStamps,
                "sent_raw_ns is missing in the boot that runs".into(),
            );
        }
        (false, Some(_)) => {
            return refuse(
                Reason::BadStamps,
                "sent_raw_ns is of another boot than the reports".into(),
            );
        }
    };
    let dating = match sent_raw {
        Some(sent) => Dating::ByAge { sent },
        None => Dating::ByItself {
            youngest: received_at - Span::from_ns(wire.running_raw_ns.unwrap_or(0)),
        },
    };
    let found = wire.witness.map(|stamps| witness::bounds(stamps, received_at));
    let mut checked = Checked {
        bad_witness: found == Some(None),
        batch: Batch {
            host: context.host,
            boot,
            current,
            received_at,
            reports: Vec::with_capacity(wire.reports.len()),
            witness: found.flatten(),
        },
        refused: Vec::new(),
    };
    let mut last = Seq(0);
    let mut sources = Vec::with_capacity(wire.reports.len());
    for wire in wire.reports {
        let seq = wire.report.seq;
        match check_report(wire, last, dating, received_at) {
            Ok((dated, its)) => {
                last = dated.report.seq;
                checked.batch.reports.push(dated);
                sources.push(its);
            }
            Err(Refused { reason, detail }) => {
                checked.refused.push(RefusedReport { seq, reason, detail });
            }
        }
    }
    checked.read_sources(sources);
    Ok(checked)
}

impl Checked {
    /// Decodes the sources of the newest report: of the others nothing is said but how many take part.
    fn read_sources(&mut self, mut sources: Vec<lazy::Sources>) {
        while let Some((mut dated, its)) = self.batch.reports.pop().zip(sources.pop()) {
            match its.decode() {
                Ok(its) => {
                    dated.report.sources = its;
                    return self.batch.reports.push(dated);
                }
                Err(error) => {
                    let (seq, detail) = (dated.report.seq.0, error.to_string());
                    self.refused.push(RefusedReport { seq, reason: Reason::Malformed, detail });
                }
            }
        }
    }
}

fn check_report(
    wire: lazy::LazyReport,
    last: Seq,
    dating: Dating,
    received_at: Timestamp<Utc>,
) -> Result<(Dated, lazy::Sources), Refused> {
    let (report, sources_used, sources) = wire
        .head()
        .map_err(|error| Refused { reason: Reason::Malformed, detail: error.to_string() })?;
    if report.seq <= last {
        let detail = format!("seq {} does not follow {last}", report.seq);
        return Err(Refused { reason: Reason::OutOfOrder, detail });
    }
    let claimed = match dating {
        Dating::ByAge { sent } if report.raw > sent => {
            let ahead = report.raw - sent;
            let detail = format!("made {ahead} after its batch was sent");
            return Err(Refused { reason: Reason::FromTheFuture, detail });
        }
        Dating::ByAge { sent } => received_at - (sent - report.raw),
        // Its raw clock is gone; its own window is the best that is left.
        Dating::ByItself { youngest } => {
            let error = report.bounds.map_or(Span::ZERO, Bounds::midpoint);
            report.realtime.corrected(error).min(youngest)
        }
    };
    let ref_time = clamp(claimed, received_at);
    let by_age = matches!(dating, Dating::ByAge { .. }) && ref_time == claimed;
    Ok((Dated { ref_time, by_age, report, sources_used }, sources))
}

/// Dates the reports anew by the time it is now, where a batch has waited beyond its partitions.
pub(super) fn clamp_to(batch: &mut Batch, now: Timestamp<Utc>) {
    for dated in &mut batch.reports {
        let ref_time = clamp(dated.ref_time, now);
        dated.by_age &= ref_time == dated.ref_time;
        dated.ref_time = ref_time;
    }
}

/// A host may lie about ages too: nothing is dated outside the partitions.
fn clamp(ref_time: Timestamp<Utc>, received_at: Timestamp<Utc>) -> Timestamp<Utc> {
    ref_time.clamp(received_at - OLDEST_SAMPLE, received_at)
}

#[cfg(test)]
mod tests;
