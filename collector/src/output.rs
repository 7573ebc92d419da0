//! What commands print.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Prints a line. Whoever has read enough (`| head`) ends the command, without complaint; `println!` would panic.
pub(crate) fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("truechimer: cannot print: {error}");
        std::process::exit(1);
    }
}

/// [`line`] with the arguments of `format!`.
macro_rules! say {
    () => { $crate::output::line(format_args!("")) };
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;
