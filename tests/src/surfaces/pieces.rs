//! Several inputs in one: each piece behind its length, two bytes, the lower one first. A surface that remembers is
//! tried with a row of them.

/// Most pieces that are taken of one input.
const PIECES_MAX: usize = 32;

/// The pieces; the last may be cut off.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, after) = rest.split_at(length);
        bytes = after;
        Some(piece)
    })
    .take(PIECES_MAX)
}

/// The pieces as one input.
///
/// # Panics
/// When one is longer than 65,535 bytes.
#[must_use]
pub fn join(pieces: &[Vec<u8>]) -> Vec<u8> {
    let length = |piece: &[u8]| u16::try_from(piece.len()).expect("a piece is short").to_le_bytes();
    pieces.iter().flat_map(|piece| [&length(piece)[..], piece].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_as_they_went_in_and_the_last_may_be_cut_off() {
        let pieces = vec![b"one".to_vec(), Vec::new(), vec![7; 300]];
        let joined = join(&pieces);
        assert_eq!(split(&joined).collect::<Vec<_>>(), pieces);
        assert_eq!(split(&joined[..4]).collect::<Vec<_>>(), [b"on"]);
        assert_eq!(split(&[]).count(), 0);
    }
}
