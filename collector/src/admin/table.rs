use timebase::{Timestamp, Utc};

use crate::output::say;

/// Prints rows under a heading, columns aligned.
pub(super) fn print<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say!("{}", padded.join("  ").trim_end());
    };
    line(heading);
    for row in rows {
        line(std::array::from_fn(|i| row[i].as_str()));
    }
}

/// A moment to the second, or `-`.
pub(super) fn moment(at: Option<Timestamp<Utc>>) -> String {
    at.map_or_else(|| "-".into(), |at| store::time::to_jiff(at).strftime("%F %T UTC").to_string())
}
