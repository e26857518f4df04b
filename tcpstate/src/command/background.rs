//! Runs blocking work on another thread, so that signals still end the process.

use std::thread;

use anyhow::Result;
use tokio::sync::oneshot::{self, Receiver};

use super::environment::Error;

/// Starts `work` on a new thread. The returned channel delivers the result. The runtime's own
/// threads are not used, because the runtime panics if it cannot start a thread.
pub(super) fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Receiver<T>, Error> {
    let (result, done) = oneshot::channel();
    let run = move || {
        // The receiver exists until the work is done, or until the process ends.
        let _ = result.send(work());
    };
    thread::Builder::new().spawn(run).map_err(Error::Thread)?;
    Ok(done)
}

/// Runs `work` on a new thread and returns its result.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    Ok(start(work)?.await.expect("the work does not panic"))
}
