//! Exporting a community: parts as the node reads them, in pieces of a bounded size.

use crate::{closing, door::Door, fields, refused::refused};
use althing_core::{portable::Part, refusal::Refusal};
use althing_proto::v1;
use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tonic::Status;
use v1::export_community_response::Part as Message;

/// The largest piece, in bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// The parts of an export that a request asks for.
///
/// # Errors
/// There is no such community, no replica of it here, or as many streams are open as may be.
pub(crate) async fn open(
    door: &Door,
    request: v1::ExportCommunityRequest,
) -> Result<BoxStream<'static, Result<v1::ExportCommunityResponse, Status>>, Refusal> {
    let place = door.stream()?;
    let community = fields::community(request.community)?;
    let parts = door.node.export(&community).await?;
    let messages = parts.flat_map(|part| match part {
        Ok(part) => stream::iter(messages(part).map(Ok)).left_stream(),
        Err(refusal) => stream::iter([Err(refused(refusal))]).right_stream(),
    });
    let messages = messages.map(move |message| {
        let _kept_while_the_stream_lives = &place;
        message.map(|part| v1::ExportCommunityResponse { part: Some(part) })
    });
    Ok(closing::until(door.closing(), messages.boxed()))
}

/// A part's beginning, and its pieces.
fn messages(Part { kind, name, body }: Part) -> impl Iterator<Item = Message> {
    let begin = v1::ExportPart { kind: kind.text().to_owned(), name, bytes: body.len() as u64 };
    std::iter::once(Message::Begin(begin)).chain(pieces(body).map(Message::Piece))
}

fn pieces(body: Bytes) -> impl Iterator<Item = Bytes> {
    (0..body.len())
        .step_by(PIECE_BYTES_MAX)
        .map(move |start| body.slice(start..body.len().min(start + PIECE_BYTES_MAX)))
}

#[cfg(test)]
mod tests {
    use super::{Message, PIECE_BYTES_MAX, messages};
    use althing_core::portable::{Kind, Part};
    use bytes::Bytes;

    #[test]
    fn a_part_is_told_of_and_comes_in_pieces() {
        for (bytes, wanted) in [(0, vec![]), (3, vec![3]), (PIECE_BYTES_MAX + 1, vec![PIECE_BYTES_MAX, 1])] {
            let part = Part { kind: Kind::Chunk, name: "c".into(), body: Bytes::from(vec![1; bytes]) };
            let mut told = messages(part);
            let Some(Message::Begin(begin)) = told.next() else { panic!("its beginning comes first") };
            assert_eq!((&begin.kind[..], &begin.name[..], begin.bytes), ("chunk", "c", bytes as u64));
            let pieces: Vec<usize> = told
                .map(|message| match message {
                    Message::Piece(piece) => piece.len(),
                    Message::Begin(_) => panic!("it begins once"),
                })
                .collect();
            assert_eq!(pieces, wanted);
        }
    }
}
