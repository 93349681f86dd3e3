//! Receiving an export of a community, part by part.
//!
//! An export is of one moment of one replica: when it breaks off, it is begun anew, never mended.

use crate::error::CallError;
use althing_core::{
    portable::{Kind, PART_BYTES_MAX, Part},
    refusal::{Code, Refusal},
};
use althing_proto::{Malformed, v1};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tonic::Streaming;
use v1::export_community_response::Part as Message;

/// How long the next message may take: the first, until a snapshot is cut.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// An export on its way.
#[derive(Debug)]
pub struct Export {
    messages: Streaming<v1::ExportCommunityResponse>,
    is_over: bool,
}

impl Export {
    pub(crate) fn new(messages: Streaming<v1::ExportCommunityResponse>) -> Self {
        Self { messages, is_over: false }
    }

    /// The next part; none after the part `end`, without which an export is not whole.
    ///
    /// # Errors
    /// The node refused to go on, went away, or was silent for too long: begin anew.
    pub async fn next(&mut self) -> Result<Option<Part>, CallError> {
        if self.is_over {
            return Ok(None);
        }
        let begin = match self.message().await? {
            Message::Begin(begin) => begin,
            Message::Piece(_) => return Err(Malformed::new("piece", "comes before its part").into()),
        };
        let kind = Kind::from_text(&begin.kind).ok_or_else(|| {
            Malformed::new("kind", format!("{:?} is not known here: use a newer client", begin.kind))
        })?;
        if begin.bytes > PART_BYTES_MAX as u64 {
            return Err(Malformed::new(
                "bytes",
                format!("announces {}, {PART_BYTES_MAX} are taken", begin.bytes),
            )
            .into());
        }
        let body = self.body(begin.bytes).await?;
        self.is_over = kind == Kind::End;
        Ok(Some(Part { kind, name: begin.name, body }))
    }

    async fn body(&mut self, bytes: u64) -> Result<Bytes, CallError> {
        let mut body = BytesMut::new();
        while (body.len() as u64) < bytes {
            match self.message().await? {
                Message::Piece(piece) if !piece.is_empty() => body.extend_from_slice(&piece),
                Message::Piece(_) => return Err(Malformed::new("piece", "is empty").into()),
                Message::Begin(_) => {
                    return Err(Malformed::new("piece", "is missing: the part is cut off").into());
                }
            }
        }
        if body.len() as u64 == bytes {
            return Ok(body.freeze());
        }
        Err(Malformed::new("piece", "goes beyond what was announced").into())
    }

    async fn message(&mut self) -> Result<Message, CallError> {
        let message = tokio::time::timeout(PATIENCE, self.messages.message()).await;
        let message = message.map_err(|_| CallError::NoAnswer { after: PATIENCE })??;
        let ended = || {
            CallError::Refused(Refusal::new(Code::NoLeader, "the node ended the export before it was whole"))
        };
        let part = message.ok_or_else(ended)?.part;
        Ok(part.ok_or_else(|| Malformed::new("part", "is missing"))?)
    }
}
