use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Lets tokio wait for `owner`'s file descriptor.
#[expect(unsafe_code, reason = "tokio cannot see that the owner keeps its descriptor open")]
pub(super) fn watch<T: AsFd + AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the owners used here (a socket, a timer) keep one descriptor open from birth to drop,
    // return that same one from `as_raw_fd`, and are moved into the AsyncFd.
    unsafe { AsyncFd::register_with_interest(owner, interest) }.map_err(io::Error::from)
}
