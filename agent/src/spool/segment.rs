use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agent_core::spool::{FrameError, Frames, SEGMENT_MAGIC, encode_frame};
use fleet_proto::pb;
use prost::Message;
use timebase::{BootId, Seq};
use tracing::warn;

const EXTENSION: &str = "segment";

/// One file of reports, all of one boot.
#[derive(Debug)]
pub(super) struct Segment {
    id: u64,
    path: PathBuf,
    boot: BootId,
    length: u64,
    last_seq: Option<Seq>,
    /// Reports not yet acknowledged, oldest first.
    frames: VecDeque<Frame>,
}

/// Where a report's frame lies in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    seq: Seq,
    start: u64,
    length: u64,
}

/// The end of the newest segment, open for appending.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    /// Length of what is written and synced.
    committed: u64,
    staged: Vec<u8>,
}

/// Every segment file, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(id) = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok())
        {
            found.push((id, path));
        }
    }
    found.sort();
    Ok(found)
}

impl Segment {
    /// Makes a new file, with its name safe on disk.
    pub(super) fn create(directory: &Path, id: u64, boot: BootId) -> io::Result<(Self, Writer)> {
        let path = directory.join(format!("{id:016x}.{EXTENSION}"));
        let mut head = SEGMENT_MAGIC.to_vec();
        encode_frame(&mut head, boot.as_bytes()).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&head)?;
        file.sync_data()?;
        File::open(directory)?.sync_all()?;
        let length = head.len() as u64;
        let segment = Self { id, path, boot, length, last_seq: None, frames: VecDeque::new() };
        Ok((segment, Writer { file, committed: length, staged: Vec::new() }))
    }

    /// Reads what a former run left, and cuts the file off behind the last whole frame. A file
    /// without even a boot id is removed.
    pub(super) fn recover(id: u64, path: PathBuf) -> io::Result<Option<Self>> {
        let bytes = fs::read(&path)?;
        let mut segment = Self {
            id,
            path,
            boot: BootId::from_bytes([0; 16]),
            length: 0,
            last_seq: None,
            frames: VecDeque::new(),
        };
        if segment.scan(&bytes).is_none() {
            if !bytes.is_empty() {
                warn!("{} is not a spool segment: removed", segment.path.display());
            }
            segment.remove();
            return Ok(None);
        }
        let torn = bytes.len() as u64 - segment.length;
        if torn > 0 {
            warn!(
                "{}: the last {torn} bytes were not wholly written: cut off",
                segment.path.display()
            );
            OpenOptions::new().write(true).open(&segment.path)?.set_len(segment.length)?;
        }
        Ok(Some(segment))
    }

    /// Finds the frames; `None` if there is no boot id.
    fn scan(&mut self, bytes: &[u8]) -> Option<()> {
        let mut frames = Frames::new(bytes);
        let (_, boot) = frames.next()?.ok()?;
        self.boot = BootId::from_bytes(boot.try_into().ok()?);
        self.length = frames.offset() as u64;
        while let Some(Ok((start, payload))) = frames.next() {
            let Ok(report) = pb::Report::decode(payload) else { break };
            let start = start as u64;
            let length = frames.offset() as u64 - start;
            self.extend([Frame { seq: Seq(report.seq), start, length }]);
        }
        Some(())
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn boot(&self) -> BootId {
        self.boot
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Highest number ever written here.
    pub(super) fn last_seq(&self) -> Option<Seq> {
        self.last_seq
    }

    pub(super) fn pending(&self) -> usize {
        self.frames.len()
    }

    /// Notes frames that were written.
    pub(super) fn extend(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            self.length = frame.start + frame.length;
            self.last_seq = self.last_seq.max(Some(frame.seq));
            self.frames.push_back(frame);
        }
    }

    /// The oldest `max` unacknowledged reports; fewer if one cannot be read whole.
    pub(super) fn read(&self, max: usize) -> io::Result<Vec<pb::Report>> {
        let wanted: Vec<_> = self.frames.iter().take(max).collect();
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        let length = usize::try_from(last.start + last.length - first.start)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        // A segment of the wanted frames alone: the magic, and then those from the file.
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.resize(SEGMENT_MAGIC.len() + length, 0);
        let frames = &mut bytes[SEGMENT_MAGIC.len()..];
        File::open(&self.path)?.read_exact_at(frames, first.start)?;
        let whole = Frames::new(&bytes).map_while(Result::ok);
        Ok(whole.map_while(|(_, payload)| pb::Report::decode(payload).ok()).collect())
    }

    /// Forgets what is acknowledged.
    pub(super) fn forget_through(&mut self, seq: Option<Seq>) {
        while self.frames.front().is_some_and(|frame| Some(frame.seq) <= seq) {
            self.frames.pop_front();
        }
    }

    /// Gives up on everything left; says how many.
    pub(super) fn forget_all(&mut self) -> usize {
        std::mem::take(&mut self.frames).len()
    }

    /// Deletes the file. A file that cannot be deleted is found acknowledged again at the next start.
    pub(super) fn remove(&self) {
        if let Err(failure) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {failure}", self.path.display());
        }
    }
}

impl Writer {
    /// Length with everything staged.
    pub(super) fn length(&self) -> u64 {
        self.committed + self.staged.len() as u64
    }

    /// Puts a report behind the others, in memory; fails only if it is larger than a frame may be.
    pub(super) fn stage(&mut self, report: &pb::Report) -> Result<Frame, FrameError> {
        let start = self.length();
        encode_frame(&mut self.staged, &report.encode_to_vec())?;
        Ok(Frame { seq: Seq(report.seq), start, length: self.length() - start })
    }

    /// Writes and syncs what is staged. On failure the file is cut back to what it was.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let staged = std::mem::take(&mut self.staged);
        let written = self.file.write_all(&staged).and_then(|()| self.file.sync_data());
        if let Err(failure) = written {
            self.file.set_len(self.committed)?;
            self.file.seek(SeekFrom::Start(self.committed))?;
            return Err(failure);
        }
        self.committed += staged.len() as u64;
        Ok(())
    }
}
