//! Standard output, written without ever waiting for whoever reads it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::libc::{O_NOCTTY, O_NONBLOCK, PIPE_BUF};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::write;

/// Writes whole lines, and leaves out those for which there is no room.
#[derive(Debug)]
pub(super) struct Printer {
    out: OwnedFd,
    is_socket: bool,
    /// What is left of the line that was begun.
    pending: Vec<u8>,
}

impl Printer {
    /// For standard output.
    pub(super) fn stdout() -> io::Result<Self> {
        Self::to(io::stdout().as_fd().try_clone_to_owned()?)
    }

    fn to(out: OwnedFd) -> io::Result<Self> {
        let out = File::from(out);
        let kind = out.metadata()?.file_type();
        let own = if kind.is_fifo() || kind.is_char_device() { reopened(&out) } else { None };
        let (out, is_socket) = (own.unwrap_or(out).into(), kind.is_socket());
        Ok(Self { out, is_socket, pending: Vec::new() })
    }

    /// Writes what there is room for, and keeps the rest of the line for the next time. While a line is
    /// unfinished, others are dropped: a reader that is too slow misses them.
    ///
    /// # Errors
    /// Nobody can read any more.
    pub(super) fn print(&mut self, line: &str) -> io::Result<()> {
        self.write_pending()?;
        if self.pending.is_empty() {
            self.pending.extend_from_slice(line.as_bytes());
            self.write_pending()?;
        }
        Ok(())
    }

    fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() && self.has_room()? {
            // A pipe that has room at all has it for this much.
            let some = &self.pending[..self.pending.len().min(PIPE_BUF)];
            let written = if self.is_socket {
                send(self.out.as_raw_fd(), some, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
            } else {
                write(&self.out, some)
            };
            match written {
                Ok(0) | Err(Errno::EAGAIN) => return Ok(()),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn has_room(&self) -> io::Result<bool> {
        let mut room = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
        poll(&mut room, PollTimeout::ZERO)?;
        let found = room[0].revents().unwrap_or(PollFlags::empty());
        if found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(found.contains(PollFlags::POLLOUT))
    }
}

/// The same pipe or terminal without waiting: "room" of a terminal may be one byte. O_NONBLOCK on the
/// descriptor that was inherited would be O_NONBLOCK for the shell and everybody else who shares it.
fn reopened(out: &File) -> Option<File> {
    let path = format!("/proc/self/fd/{}", out.as_raw_fd());
    File::options().write(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// Prints numbered lines, stops reading, reads on, and gives the lines that arrived.
    fn printed(out: OwnedFd, mut reader: impl Read) -> Vec<String> {
        let mut printer = Printer::to(out).unwrap();
        let line = |number: usize| format!("{number}{}\n", "-".repeat(5_029));
        for number in 1_000..1_200 {
            printer.print(&line(number)).unwrap();
        }
        let mut read = vec![0; 3_000];
        reader.read_exact(&mut read).unwrap();
        for number in 2_000..2_040 {
            printer.print(&line(number)).unwrap();
            let mut some = vec![0; 8_000];
            let length = reader.read(&mut some).unwrap();
            read.extend_from_slice(&some[..length]);
        }
        drop(printer);
        reader.read_to_end(&mut read).unwrap();
        let read = String::from_utf8(read).unwrap();
        read.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn assert_whole(lines: &[String]) {
        let whole = lines.iter().take(lines.len() - 1);
        assert!(whole.clone().all(|line| line.len() == 5_034), "{:?}", lines.len());
        let numbers: Vec<_> = whole.map(|line| line[..4].parse::<usize>().unwrap()).collect();
        assert!(numbers.is_sorted() && numbers[0] == 1_000, "{numbers:?}");
        let (before, after) = (numbers.iter().filter(|n| **n < 2_000).count(), numbers.last());
        assert!(before < 200 && *after.unwrap() > 2_030, "{numbers:?}");
    }

    /// Proves that a pipe nobody reads is not waited for, that lines arrive whole or not at all, and that
    /// the pipe is not made non-blocking for others.
    #[test]
    fn a_full_pipe_is_not_waited_for() {
        for bytes in [4_096, 65_536] {
            let (reader, writer) = nix::unistd::pipe().unwrap();
            fcntl(&writer, FcntlArg::F_SETPIPE_SZ(bytes)).unwrap();
            let shared = writer.try_clone().unwrap();
            let flags = || OFlag::from_bits_retain(fcntl(&shared, FcntlArg::F_GETFL).unwrap());
            let printer = Printer::to(writer.try_clone().unwrap()).unwrap();
            assert!(!flags().contains(OFlag::O_NONBLOCK));
            drop((printer, shared));
            assert_whole(&printed(writer, File::from(reader)));
        }
    }

    /// Proves the same of a socket.
    #[test]
    fn a_full_socket_is_not_waited_for() {
        let (reader, writer) = UnixStream::pair().unwrap();
        assert_whole(&printed(writer.into(), reader));
    }

    /// Proves the same of a terminal, whose room is not in whole pages.
    #[test]
    fn a_full_terminal_is_not_waited_for() {
        let Ok(terminal) = File::options().read(true).write(true).open("/dev/ptmx") else { return };
        let mut printer = Printer::to(terminal.into()).unwrap();
        for _ in 0..1_000 {
            printer.print(&"-".repeat(5_030)).unwrap();
        }
    }

    /// Proves that a reader who left is noticed.
    #[test]
    fn nobody_is_noticed() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut printer = Printer::to(writer).unwrap();
        printer.print("one\n").unwrap();
        drop(reader);
        assert_eq!(printer.print("two\n").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
