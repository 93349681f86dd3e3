//! A node's metrics, read as Prometheus would.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What the node at `api` serves at `path`, with the status line and headers.
///
/// # Panics
/// When it does not answer.
pub async fn get(api: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(api).await.expect("the node listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("the node reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("the node answers");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The sum of a metric's series; none if there is no such metric.
pub async fn metric(api: &str, name: &str) -> Option<f64> {
    let text = get(api, "/metrics").await;
    let of_it = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with('{') || rest.starts_with(' '))
            .then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    of_it.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}
