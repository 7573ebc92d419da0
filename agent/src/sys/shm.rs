//! ntpd's shared memory segment (System V), by which gpsd and others hand over samples.

use std::io;
use std::sync::atomic::{Ordering, fence};

use nix::errno::Errno;

/// The key of unit 0: "NTP0". Unit n has this plus n.
const FIRST_KEY: i32 = 0x4e54_5030;
/// `struct shmTime` where `time_t` and pointers are 64 bits wide.
pub const SEGMENT_BYTES: usize = 96;
/// Where `count` and `valid` are in it.
const COUNT: usize = 4;
const VALID: usize = 48;

/// An attached segment; detached when dropped. It is left in the system: the other side has it, too.
#[derive(Debug)]
pub struct Segment {
    memory: *mut u8,
}

// SAFETY: the address belongs to this value alone and is valid in every thread of the process.
#[expect(unsafe_code, reason = "a raw pointer is not Send by itself")]
unsafe impl Send for Segment {}

impl Segment {
    /// Attaches the segment of `unit`, and makes it if it is not there yet: the programs that write to it
    /// may come first or last.
    #[expect(unsafe_code, reason = "System V shared memory has no safe wrapper")]
    pub fn attach(unit: u8, permissions: u32) -> io::Result<Self> {
        let flags = libc::IPC_CREAT | (permissions & 0o777).cast_signed();
        // SAFETY: shmget takes integers only.
        let id = unsafe { libc::shmget(FIRST_KEY + i32::from(unit), SEGMENT_BYTES, flags) };
        if id < 0 {
            return Err(Errno::last().into());
        }
        // SAFETY: attaches at an address of the kernel's choice; the result is checked.
        let memory = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        // shmat fails with (void *) -1.
        if memory.addr() == usize::MAX {
            return Err(Errno::last().into());
        }
        Ok(Self { memory: memory.cast() })
    }

    /// The segment's bytes, if there is a sample that was not read yet; afterwards there is none.
    ///
    /// Resetting `valid` is all that is ever written: it is how a writer learns that its sample was read.
    /// A sample that was being written meanwhile is not given.
    #[expect(unsafe_code, reason = "memory shared with other processes is read by address")]
    pub fn take(&mut self) -> Option<[u8; SEGMENT_BYTES]> {
        let word = |at: usize| {
            // SAFETY: the segment has SEGMENT_BYTES bytes, is aligned to a page, and `at` is one of the
            // aligned offsets above. Another process may write at any time, hence volatile.
            unsafe { self.memory.add(at).cast::<u32>().read_volatile() }
        };
        if word(VALID) == 0 {
            return None;
        }
        let count = word(COUNT);
        fence(Ordering::Acquire);
        let mut bytes = [0; SEGMENT_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: `at` is within the segment.
            *byte = unsafe { self.memory.add(at).read_volatile() };
        }
        fence(Ordering::Acquire);
        let undisturbed = word(COUNT) == count;
        // SAFETY: as above; the protocol gives this word to the reader.
        unsafe { self.memory.add(VALID).cast::<u32>().write_volatile(0) };
        undisturbed.then_some(bytes)
    }
}

impl Drop for Segment {
    #[expect(unsafe_code, reason = "System V shared memory has no safe wrapper")]
    fn drop(&mut self) {
        // SAFETY: attached by `attach`, and detached only here.
        let _ = unsafe { libc::shmdt(self.memory.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a segment is shared, that a sample is taken once, and that the writer is told.
    #[test]
    #[expect(unsafe_code, reason = "the test is the other process")]
    fn a_sample_is_taken_once() {
        let unit = 200 + (std::process::id() % 50) as u8;
        let (mut reader, writer) =
            (Segment::attach(unit, 0o600).unwrap(), Segment::attach(unit, 0o600).unwrap());
        let _ = reader.take();
        assert_eq!(reader.take(), None);
        let put = |at: usize, value: u32| {
            // SAFETY: within the segment, aligned.
            unsafe { writer.memory.add(at).cast::<u32>().write_volatile(value) };
        };
        put(COUNT, 7);
        put(8, 1_700_000_000);
        put(VALID, 1);
        let bytes = reader.take().unwrap();
        assert_eq!(bytes[8..12], 1_700_000_000u32.to_ne_bytes());
        assert_eq!(reader.take(), None, "valid was reset");
        // SAFETY: removes the segment of this test once both are detached.
        unsafe {
            let id = libc::shmget(FIRST_KEY + i32::from(unit), SEGMENT_BYTES, 0);
            libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
        }
    }
}
