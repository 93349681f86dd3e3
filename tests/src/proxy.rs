//! A TCP proxy in front of one listener, which can be cut: then nobody reaches the listener any more,
//! while whoever listens there can still reach everybody. A partition of one direction, without
//! privileges. It can also be slow, as a link to another continent is.

use crate::wait::passes;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The proxy; dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    is_cut: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    pace: Pace,
    task: JoinHandle<()>,
}

/// How many bytes a second pass each way on each connection; 0: as many as there are.
type Pace = Arc<AtomicU64>;

impl Proxy {
    /// Listens at a free port and passes everything on to `target`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (cuts, cut) = watch::channel(0);
        let (is_cut, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let pace = Pace::default();
        let road = Road { target, cut, pace: pace.clone() };
        let task = tokio::spawn(accept(listener, road, is_cut.clone(), refused.clone()));
        Self { address, cuts, is_cut, refused, pace, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Breaks every connection and refuses new ones.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }

    /// Lets only so many bytes a second through on each connection, each way.
    pub fn slow(&self, bytes_per_second: u64) {
        self.pace.store(bytes_per_second, Ordering::SeqCst);
    }

    /// How many connections were refused: somebody tried.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What becomes of a connection.
#[derive(Clone)]
struct Road {
    target: String,
    cut: watch::Receiver<u64>,
    pace: Pace,
}

async fn accept(listener: TcpListener, road: Road, is_cut: Arc<AtomicBool>, refused: Arc<AtomicU64>) {
    while let Ok((incoming, _)) = listener.accept().await {
        // In this order, so that a cut in between is noticed either way.
        let mut road = road.clone();
        road.cut.mark_unchanged();
        if is_cut.load(Ordering::SeqCst) {
            refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        tokio::spawn(carry(incoming, road));
    }
}

/// Carries bytes both ways until an end closes, the proxy is cut, or it is dropped.
async fn carry(incoming: TcpStream, mut road: Road) {
    let Ok(outgoing) = TcpStream::connect(&road.target).await else { return };
    // Latency shapes elections: neither side may wait for more to send.
    let _ = (incoming.set_nodelay(true), outgoing.set_nodelay(true));
    let ((asked, answering), (answered, asking)) = (incoming.into_split(), outgoing.into_split());
    let both_ways =
        async { tokio::join!(pass(asked, asking, &road.pace), pass(answered, answering, &road.pace)) };
    tokio::select! {
        _ = road.cut.changed() => {}
        _ = both_ways => {}
    }
}

/// Passes bytes on in one direction until there are no more, and says so to whoever reads them.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    pace: &Pace,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        let pace = pace.load(Ordering::SeqCst);
        if let Some(micros) = (read as u64 * 1_000_000).checked_div(pace) {
            passes(Duration::from_micros(micros)).await;
        }
    }
}
