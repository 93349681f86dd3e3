//! A snapshot on its way to a replica.

use althing_client::v1;
use serde::Serialize;
use std::fmt;

/// How far it is.
#[derive(Debug, Serialize)]
pub(crate) struct TransferShown {
    from_node: u64,
    sequence: u64,
    chunks: u64,
    chunks_here: u64,
    bytes: u64,
    bytes_here: u64,
}

impl From<v1::TransferStatus> for TransferShown {
    fn from(status: v1::TransferStatus) -> Self {
        let v1::TransferStatus { from, sequence, chunks, chunks_here, bytes, bytes_here } = status;
        Self { from_node: from, sequence, chunks, chunks_here, bytes, bytes_here }
    }
}

impl fmt::Display for TransferShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from_node, sequence, chunks, chunks_here, bytes, bytes_here } = self;
        write!(f, "the snapshot at {sequence} from node {from_node}: ")?;
        if chunks_here == chunks {
            return write!(f, "all {chunks} chunks are here, the state is being put together");
        }
        let percent = bytes_here * 100 / (*bytes).max(1);
        let (here, of) = (bytes_here >> 20, bytes >> 20);
        write!(f, "{percent} %, {chunks_here} of {chunks} chunks, {here} of {of} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::TransferShown;
    use althing_client::v1;

    #[test]
    fn a_transfer_tells_how_far_it_is() {
        let mut status = v1::TransferStatus {
            from: 2,
            sequence: 70,
            chunks: 8000,
            chunks_here: 3600,
            bytes: 500 << 20,
            bytes_here: 226 << 20,
        };
        let wanted = "the snapshot at 70 from node 2: 45 %, 3600 of 8000 chunks, 226 of 500 MiB";
        assert_eq!(TransferShown::from(status).to_string(), wanted);
        (status.chunks_here, status.bytes_here) = (status.chunks, status.bytes);
        let wanted =
            "the snapshot at 70 from node 2: all 8000 chunks are here, the state is being put together";
        assert_eq!(TransferShown::from(status).to_string(), wanted);
    }
}
