//! What a file of a recording is, and what was so when it was begun.

use std::{
    collections::BTreeMap,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use minicbor::{Decode, Encode};

/// The first record of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The recording's: files with another one are of another recording.
    #[n(0)]
    pub id: u64,
    /// Which of its files this is, from zero on.
    #[n(1)]
    pub number: u32,
    /// The program that wrote it.
    #[n(2)]
    pub program: String,
    /// Whether there are events besides snapshots.
    #[n(3)]
    pub has_events: bool,
    /// Settings of the kernel, as it writes them, by the names that `sysctl` gives them.
    #[n(4)]
    pub sysctls: BTreeMap<String, String>,
}

impl Part {
    /// The first file of a new recording.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Told apart by when and by whom it was begun; whole seconds and this process.
        let id = since_1970.as_secs() << 32 | u64::from(process::id());
        Self { id, program: program.to_owned(), ..Self::default() }
    }
}
