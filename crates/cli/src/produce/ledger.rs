//! The file of a producer: how much of an input is written, and what a repeat of the rest needs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use sluicegate_client::{Account, Store};

use crate::args::Produce;
use crate::stderr::{printable, say};

/// The file, locked: one command at a time counts with its account.
pub(super) struct Ledger {
    path: PathBuf,
    pub(super) entries: Entries,
    quiet: bool,
    was_reported: bool,
    _lock: File,
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    version: u32,
    /// The gateway's.
    url: String,
    topic: String,
    /// Records with an outcome, at the beginning of the input.
    pub(super) done: Mark,
    /// Of those, the ones that were refused.
    pub(super) refused: u64,
    /// Records done, and those of the unfinished write.
    pub(super) begun: Mark,
    /// None: nothing was sent.
    account: Option<Account>,
}

/// A place in the input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// The number of records before it.
    pub(super) records: u64,
    /// The hash of these records, and of the options that say how they are read.
    hash: String,
}

/// The hash of an input, up to a place.
#[derive(Clone)]
pub(super) struct Hash {
    context: Context,
    records: u64,
}

impl Ledger {
    /// Opens or begins the file of a topic's producer.
    ///
    /// # Errors
    /// It cannot be used, as a sentence.
    pub(super) fn open(path: &Path, url: &str, topic: &str, quiet: bool) -> Result<Self, String> {
        // Also where one command names it by a link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let shown = path.display();
        let failed = |why: io::Error| format!("the producer's file {shown}: {why}");
        // Not the file itself, which is replaced.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside(&path, "lock"));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("the producer's file {shown} is in use by another command"));
            }
            Err(TryLockError::Error(why)) => return Err(failed(why)),
        }
        let entries = match fs::read(&path) {
            Ok(bytes) => Entries::read(&bytes, url, topic).map_err(|why| {
                format!("the producer's file {shown} {why}; for another topic or input, use another file")
            })?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => Entries::new(url, topic),
            Err(why) => return Err(failed(why)),
        };
        Ok(Self { path, entries, quiet, was_reported: false, _lock: lock })
    }

    /// The account of the producer.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn account(&self) -> io::Result<Account> {
        self.entries.account.clone().map_or_else(Account::new, Ok)
    }

    /// Replaces the file, so that there is always a whole one.
    fn write(&self) -> io::Result<()> {
        let next = beside(&self.path, "tmp");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        // The producer's id is all that writing as it takes, where the route has no identity.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&next)?;
        file.write_all(&serde_json::to_vec(&self.entries)?)?;
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        // The name itself.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        #[cfg(unix)]
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

impl Store for Ledger {
    fn save(&mut self, account: &Account) -> io::Result<()> {
        self.entries.account = Some(account.clone());
        self.write()
    }

    fn retrying(&mut self, failure: &str, _: std::time::Duration) {
        if !self.quiet && !std::mem::replace(&mut self.was_reported, true) {
            say(format_args!("sluicegate: {}, retrying", printable(failure)));
        }
    }
}

impl Entries {
    fn new(url: &str, topic: &str) -> Self {
        let (url, topic) = (url.to_owned(), topic.to_owned());
        let (done, begun) = (Mark::default(), Mark::default());
        Self { version: VERSION, url, topic, done, refused: 0, begun, account: None }
    }

    fn read(bytes: &[u8], url: &str, topic: &str) -> Result<Self, String> {
        let entries: Self =
            serde_json::from_slice(bytes).map_err(|why| format!("is not one, or damaged: {why}"))?;
        let Self { version, url: its_url, topic: its_topic, .. } = &entries;
        if *version != VERSION {
            return Err(format!("has version {version}: expected {VERSION}"));
        }
        if its_topic != topic {
            return Err(format!("is for topic {its_topic}"));
        }
        if its_url != url {
            return Err(format!("is for {its_url}, its \"url\": change it there if the cluster is the same"));
        }
        Ok(entries)
    }
}

impl Hash {
    /// The hash of an input without records, which is read with these options.
    pub(super) fn new(args: &Produce) -> Self {
        let Produce { partition, key_delimiter, delimiter, json, null, .. } = args;
        let Produce { record_header, value_schema, key_schema, .. } = args;
        let options = format!(
            "{partition:?} {key_delimiter:?} {delimiter:?} {json} {null} {record_header:?} {value_schema:?} {key_schema:?}"
        );
        let mut hash = Self { context: Context::new(&SHA256), records: 0 };
        hash.update(options.as_bytes());
        hash
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        self.update(piece);
        self.records = self.records.saturating_add(1);
    }

    /// The number of records so far.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn mark(&self) -> Mark {
        let hash = self.context.clone().finish();
        let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Mark { records: self.records, hash }
    }

    fn update(&mut self, bytes: &[u8]) {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.context.update(&len.to_be_bytes());
        self.context.update(bytes);
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

const VERSION: u32 = 1;
