//! Decodes the columns of events. The macro of minicbor would need a check of the whole record
//! first, because the macro skips unknown fields.

use minicbor::{Decode, Decoder, decode::Error};

use super::{Callers, Events};
use crate::recording::{
    budget::Budget,
    wire::limited::{check, length, skip},
};

/// The number of columns that each recording has. Older recordings lack further columns.
const REQUIRED: usize = 16;

impl<'b, C: AsMut<Budget>> Decode<'b, C> for Events {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        let fields = length(decoder.array()?, usize::MAX)?;
        if fields < REQUIRED {
            return Err(Error::message("events without a required column"));
        }
        let mut events = Self::default();
        for field in 0..fields {
            match field {
                0 => events.monotonic = decoder.decode_with(context)?,
                1 => events.ahead = decoder.decode_with(context)?,
                2 => events.states = decoder.decode_with(context)?,
                3 => events.family = decoder.decode_with(context)?,
                4 => events.addresses = decoder.decode_with(context)?,
                5 => events.local = decoder.decode_with(context)?,
                6 => events.local_port = decoder.decode_with(context)?,
                7 => events.remote = decoder.decode_with(context)?,
                8 => events.remote_port = decoder.decode_with(context)?,
                9 => events.netns = decoder.decode_with(context)?,
                10 => events.cookie = decoder.decode_with(context)?,
                11 => events.texts = decoder.decode_with(context)?,
                12 => events.pid = decoder.decode_with(context)?,
                13 => events.comm = decoder.decode_with(context)?,
                14 => events.uid = decoder.decode_with(context)?,
                15 => events.duration = decoder.decode_with(context)?,
                16 => events.cgroup = decoder.decode_with(context)?,
                17 => events.hook = decoder.decode_with(context)?,
                18 => events.ended_by = decoder.decode_with(context)?,
                19 => events.closed_by = decoder.decode_with(context)?,
                20 => events.opened_by = decoder.decode_with(context)?,
                21 => {
                    // The macro decodes this field.
                    check(decoder)?;
                    events.connections = decoder.decode_with(context)?;
                }
                _ => skip(decoder)?,
            }
        }
        Ok(events)
    }
}

impl<'b, C: AsMut<Budget>> Decode<'b, C> for Callers {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, Error> {
        let mut callers = Self::default();
        for field in 0..length(decoder.array()?, usize::MAX)? {
            match field {
                0 => callers.pid = decoder.decode_with(context)?,
                1 => callers.comm = decoder.decode_with(context)?,
                _ => skip(decoder)?,
            }
        }
        Ok(callers)
    }
}
