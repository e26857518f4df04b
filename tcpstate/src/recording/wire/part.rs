//! Describes a file of a recording and the system on which it was written.

use std::{
    collections::BTreeMap,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{
    limited::{List, Text, length},
    owners::{KeyName, MAX_KEYS},
    table::Wire as _,
};
use crate::{recording::budget::Budget, report::Key};

/// The maximum number of sysctls.
const MAX_SYSCTLS: usize = 1024;

/// The maximum number of addresses of interfaces, and of listeners.
pub const MAX_FACTS: usize = 1024;

/// The first record of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "AsMut<Budget>")]
pub struct Part {
    /// The identifier of the recording. All files of a recording have the same identifier.
    #[n(0)]
    pub id: u64,
    /// The number of the file in the recording. The number of the first file is 0.
    #[n(1)]
    pub number: u32,
    /// The program that wrote the recording.
    #[cbor(n(2), decode_with = "decode_text")]
    pub program: String,
    /// Whether the recording contains events in addition to snapshots.
    #[n(3)]
    pub has_events: bool,
    /// The names and values of sysctls. Each value is the text that the kernel prints.
    #[cbor(n(4), decode_with = "decode_sysctls")]
    pub sysctls: BTreeMap<String, String>,
    /// The keys by which sockets are grouped. The list is empty if sockets are not grouped.
    #[cbor(n(5), decode_with = "decode_keys", encode_with = "encode_keys", nil = "no_keys")]
    #[cbor(is_nil = "Vec::is_empty")]
    pub by: Vec<Key>,
    /// Whether the last event of each connection contains the sum of the connection.
    #[cbor(n(6), default)]
    pub has_connections: bool,
    /// The interfaces and their addresses at the start, for example `eth0 192.0.2.1`.
    #[cbor(n(7), decode_with = "decode_facts", encode_with = "encode_facts", nil = "no_facts")]
    #[cbor(is_nil = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The addresses and ports of the listeners at the start.
    #[cbor(n(8), decode_with = "decode_facts", encode_with = "encode_facts", nil = "no_facts")]
    #[cbor(is_nil = "Vec::is_empty")]
    pub listeners: Vec<String>,
}

impl Part {
    /// Describes the first file of a new recording.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The start time in seconds and the process id identify a recording.
        let id = since_1970.as_secs() << 32 | u64::from(process::id());
        Self { id, program: program.to_owned(), ..Self::default() }
    }
}

fn decode_text<C: AsMut<Budget>>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<String, decode::Error> {
    decoder.decode_with(context).map(|Text(text)| text)
}

fn decode_sysctls<C: AsMut<Budget>>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<BTreeMap<String, String>, decode::Error> {
    let count = length(decoder.map()?, MAX_SYSCTLS)?;
    (0..count)
        .map(|_| Ok((decode_text(decoder, context)?, decode_text(decoder, context)?)))
        .collect()
}

fn decode_keys<C: AsMut<Budget>>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<Key>, decode::Error> {
    decoder.decode_with::<_, List<KeyName, MAX_KEYS>>(context)?.read()
}

#[allow(clippy::ptr_arg, reason = "minicbor passes a reference to the field")]
fn encode_keys<C: AsMut<Budget>, W: minicbor::encode::Write>(
    keys: &Vec<Key>,
    encoder: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    encoder.encode_with(List::<KeyName, MAX_KEYS>::of(keys), context)?.ok()
}

fn decode_facts<C: AsMut<Budget>>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<String>, decode::Error> {
    decoder.decode_with::<_, List<Text, MAX_FACTS>>(context)?.read()
}

#[allow(clippy::ptr_arg, reason = "minicbor passes a reference to the field")]
fn encode_facts<C: AsMut<Budget>, W: minicbor::encode::Write>(
    facts: &Vec<String>,
    encoder: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    encoder.encode_with(List::<Text, MAX_FACTS>::of(facts), context)?.ok()
}

/// Returns the facts of a recording of a version that did not record them.
#[allow(clippy::unnecessary_wraps, reason = "minicbor expects an option")]
fn no_facts() -> Option<Vec<String>> {
    Some(Vec::new())
}

/// Returns the keys of a recording of a version that did not group sockets.
#[allow(clippy::unnecessary_wraps, reason = "minicbor expects an option")]
fn no_keys() -> Option<Vec<Key>> {
    Some(Vec::new())
}
