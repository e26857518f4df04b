//! The main loop of `serve`: the endpoint, the textfile, and the watchdog of the service manager.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::Signal,
    time::{MissedTickBehavior, interval},
};

use super::{
    Arguments, Error,
    manager::{notify, watchdog_interval},
};
use crate::{
    serve::{
        Progress, Textfile, TracerHandle,
        http::{self, Hosts},
    },
    text::escaped,
    view::metrics::Format,
};

/// Starts to listen on an address.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    /// The maximum number of connections that wait for accept(): 4096 is also the default of
    /// `net.core.somaxconn`. A flood of connections does not fill a long queue as fast as a short
    /// queue.
    const BACKLOG: u32 = 4096;
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| Error::Listen(address, error))
}

/// Answers requests. This function returns only if an error occurs, for example if the tracer's
/// thread ends.
pub(super) async fn answer(
    arguments: &Arguments,
    tracer_handle: &TracerHandle,
    progress: Progress,
    mut hang_up: Signal,
    listener: Option<TcpListener>,
    textfile: &mut Option<Textfile>,
) -> Result<()> {
    let Progress { started, mut ended } = progress;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose();
    let address = address.context("cannot read the listening address")?;
    if let (Some(listener), Some(address)) = (listener, address) {
        // If a request arrives before the first scan ends, the request is answered after the scan.
        let most = arguments.max_connections as usize;
        let hosts = Hosts::new(arguments.allow_host.clone(), address);
        tokio::spawn(http::serve(listener, tracer_handle.clone(), most, hosts));
    }
    started.await.context("cannot start the tracer")??;
    if let Some(address) = address {
        eprintln!("tcpstate: serving http://{address}/metrics");
    }
    notify("READY=1");
    #[cfg(feature = "otlp")]
    arguments.otlp.begin(tracer_handle)?;
    let mut writes = interval(arguments.textfile_interval);
    writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watchdog = watchdog_interval();
    // Without a watchdog, this timer is not used.
    let mut looks = interval(watchdog.unwrap_or(Duration::from_secs(3600)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut ended => bail!("cannot count: the thread that counts has ended"),
            _ = hang_up.recv() => {
                // A scan may take a minute. The loop must not wait for it.
                let tracer_handle = tracer_handle.clone();
                tokio::spawn(async move { report(tracer_handle.scan().await.err()) });
            }
            _ = writes.tick(), if textfile.is_some() => {
                if let Some(textfile) = textfile {
                    report(write(tracer_handle, textfile).await.err());
                }
            }
            _ = looks.tick(), if watchdog.is_some() => {
                if tracer_handle.is_alive() {
                    notify("WATCHDOG=1");
                }
            }
        }
    }
}

async fn write(tracer_handle: &TracerHandle, textfile: &mut Textfile) -> Result<()> {
    let Some(reading) = tracer_handle.scrape_or_last(Some(Format::Prometheus)).await else {
        return Ok(());
    };
    let text = reading?.text(Format::Prometheus).concat();
    if let Some(error) = textfile.write(&text) {
        eprintln!("tcpstate: cannot write the textfile: {error}");
        eprintln!(
            "help: free space on the disk of the textfile, and check that this user may write to its folder"
        );
    }
    tracer_handle.delivery_stats().textfile_errors.store(textfile.errors(), Relaxed);
    Ok(())
}

/// Reports an error on stderr. The run continues.
fn report(error: Option<impl Into<anyhow::Error>>) {
    if let Some(error) = error {
        eprintln!("tcpstate: {}", escaped(format!("{:#}", error.into())));
    }
}
