//! A TCP proxy in front of one listener, which can be cut: then nobody reaches the listener any more,
//! while whoever listens there can still reach everybody. A partition of one direction, without
//! privileges.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
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
    task: JoinHandle<()>,
}

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
        let task = tokio::spawn(accept(listener, target, cut, is_cut.clone(), refused.clone()));
        Self { address, cuts, is_cut, refused, task }
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

async fn accept(
    listener: TcpListener,
    target: String,
    cut: watch::Receiver<u64>,
    is_cut: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
) {
    while let Ok((incoming, _)) = listener.accept().await {
        // In this order, so that a cut in between is noticed either way.
        let mut cut = cut.clone();
        cut.mark_unchanged();
        if is_cut.load(Ordering::SeqCst) {
            refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        tokio::spawn(carry(incoming, target.clone(), cut));
    }
}

/// Carries bytes both ways until an end closes, the proxy is cut, or it is dropped.
async fn carry(mut incoming: TcpStream, target: String, mut cut: watch::Receiver<u64>) {
    let Ok(mut outgoing) = TcpStream::connect(&target).await else { return };
    // Latency shapes elections: neither side may wait for more to send.
    let _ = (incoming.set_nodelay(true), outgoing.set_nodelay(true));
    tokio::select! {
        _ = cut.changed() => {}
        _ = tokio::io::copy_bidirectional(&mut incoming, &mut outgoing) => {}
    }
}
