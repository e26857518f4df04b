//! The body of a response: at most two parts of text. Responses share the bytes of a part.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// A text in parts.
#[derive(Debug, Default)]
pub(super) struct Text {
    parts: [Bytes; 2],
}

impl From<[Bytes; 2]> for Text {
    fn from(parts: [Bytes; 2]) -> Self {
        Self { parts }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self { parts: [Bytes::from_static(text.as_bytes()), Bytes::new()] }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { parts: [text.into(), Bytes::new()] }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.parts.iter_mut().find(|part| !part.is_empty()).map(std::mem::take);
        Poll::Ready(next.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}
