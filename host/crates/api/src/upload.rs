//! Taking in a component: what is to come, then the pieces.
//!
//! Nothing is kept beyond what was announced, and nothing is announced beyond the bound.

use crate::{answers, door::Door, undecodable};
use althing_core::{
    ids::Hash,
    limits::COMPONENT_BYTES_MAX,
    refusal::{Code, Refusal},
};
use althing_proto::{Malformed, hash, status, v1};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use std::time::Duration;
use tonic::Status;
use v1::upload_component_request::Part;

/// The largest piece, in bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// How long the next piece may take, and all of them together, because places are few.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);
const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);

/// Takes in one component.
///
/// # Errors
/// What came is not what was announced, or the node does not take it.
pub(crate) async fn component(
    door: &Door,
    mut parts: impl Stream<Item = Result<v1::UploadComponentRequest, Status>> + Unpin,
) -> Result<v1::UploadComponentResponse, Refusal> {
    let _place = door.upload()?;
    let received = door.node.runtime().timeout(UPLOAD_PATIENCE, receive(door, &mut parts)).await;
    let (hash, bytes) = received.ok_or_else(|| late("the component", UPLOAD_PATIENCE))??;
    let component = door.node.upload_component(hash, bytes).await?;
    Ok(v1::UploadComponentResponse { component: Some(answers::component(component)) })
}

/// The whole component, as it was announced.
async fn receive(
    door: &Door,
    parts: &mut (impl Stream<Item = Result<v1::UploadComponentRequest, Status>> + Unpin),
) -> Result<(Hash, Bytes), Refusal> {
    let mut whole = Whole::announced(next(door, parts).await?)?;
    while let Some(part) = next(door, parts).await? {
        whole.add(part)?;
    }
    whole.finish()
}

fn late(what: &str, patience: Duration) -> Refusal {
    let message =
        format!("{what} did not come within {} s: nothing was stored, upload again", patience.as_secs());
    Refusal::new(Code::TimedOut, message)
}

/// The next part; none at the end.
async fn next(
    door: &Door,
    parts: &mut (impl Stream<Item = Result<v1::UploadComponentRequest, Status>> + Unpin),
) -> Result<Option<Part>, Refusal> {
    match door.node.runtime().timeout(PIECE_PATIENCE, parts.next()).await {
        None => Err(late("the next piece", PIECE_PATIENCE)),
        Some(None) => Ok(None),
        Some(Some(Err(broken))) => {
            Err(undecodable::refusal(&broken).unwrap_or_else(|| status::refusal(&broken)))
        }
        Some(Some(Ok(request))) => match request.part {
            Some(part) => Ok(Some(part)),
            None => Err(Malformed::new("part", "is missing: send the header, then pieces").into()),
        },
    }
}

/// A component as far as it has come.
#[derive(Debug)]
struct Whole {
    hash: Hash,
    announced: u64,
    bytes: BytesMut,
}

impl Whole {
    fn announced(part: Option<Part>) -> Result<Self, Refusal> {
        let Some(Part::Header(header)) = part else {
            return Err(Malformed::new("header", "has to come first: say what is to come").into());
        };
        if header.bytes > COMPONENT_BYTES_MAX {
            let message = format!(
                "the component has {} bytes, this host runs components of at most {COMPONENT_BYTES_MAX}",
                header.bytes
            );
            let refusal = Refusal::new(Code::BadComponent, message);
            return Err(refusal.with("bytes", header.bytes).with("bytes_max", COMPONENT_BYTES_MAX));
        }
        let hash = hash("header.hash", &header.hash)?;
        // Memory is taken as bytes come, not on anybody's word.
        Ok(Self { hash, announced: header.bytes, bytes: BytesMut::new() })
    }

    fn add(&mut self, part: Part) -> Result<(), Refusal> {
        let Part::Piece(piece) = part else {
            return Err(Malformed::new("header", "comes twice: one component is uploaded at a time").into());
        };
        if piece.len() > PIECE_BYTES_MAX {
            let why = format!("has {} bytes, pieces have {PIECE_BYTES_MAX} at most", piece.len());
            return Err(Malformed::new("piece", why).into());
        }
        let bytes = (self.bytes.len() + piece.len()) as u64;
        if bytes > self.announced {
            return Err(self.other_size(bytes));
        }
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }

    fn finish(self) -> Result<(Hash, Bytes), Refusal> {
        match self.bytes.len() as u64 {
            bytes if bytes == self.announced => Ok((self.hash, self.bytes.freeze())),
            bytes => Err(self.other_size(bytes)),
        }
    }

    fn other_size(&self, bytes: u64) -> Refusal {
        let than = if bytes > self.announced { "or more" } else { "in all" };
        let message =
            format!("{} bytes were announced and {bytes} {than} came: upload again", self.announced);
        Refusal::new(Code::BadRequest, message).with("announced", self.announced).with("bytes", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE_BYTES_MAX, Part, Whole};
    use althing_core::refusal::{Code, Refusal};
    use althing_proto::v1::UploadHeader;
    use bytes::Bytes;

    fn header(bytes: u64) -> Part {
        Part::Header(UploadHeader { hash: vec![7; 32].into(), bytes })
    }

    fn take(parts: Vec<Part>) -> Result<Bytes, Refusal> {
        let mut parts = parts.into_iter();
        let mut whole = Whole::announced(parts.next())?;
        parts.try_for_each(|part| whole.add(part))?;
        Ok(whole.finish()?.1)
    }

    fn piece(bytes: usize) -> Part {
        Part::Piece(vec![1; bytes].into())
    }

    #[test]
    fn what_was_announced_is_taken() {
        assert_eq!(take(vec![header(3), piece(2), piece(1)]).unwrap(), vec![1; 3]);
    }

    #[test]
    fn what_was_not_announced_is_refused_by_name() {
        for (parts, wanted) in [
            (vec![], "header"),
            (vec![piece(1)], "header"),
            (vec![header(1), header(1)], "comes twice"),
            (vec![header(2), piece(1)], "2 bytes were announced and 1 in all came"),
            (vec![header(2), piece(1), piece(2)], "2 bytes were announced and 3 or more came"),
            (vec![header(4 << 20), piece(PIECE_BYTES_MAX + 1)], "pieces have"),
            (vec![Part::Header(UploadHeader { hash: vec![1].into(), bytes: 1 })], "header.hash"),
        ] {
            let refusal = take(parts).unwrap_err();
            assert_eq!(refusal.code, Code::BadRequest);
            assert!(refusal.message.contains(wanted), "{}", refusal.message);
        }
        assert_eq!(take(vec![header(65 << 20)]).unwrap_err().code, Code::BadComponent);
    }
}
