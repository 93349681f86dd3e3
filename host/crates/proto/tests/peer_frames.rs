//! Golden vectors of the peer frame: what nodes of two builds say to each other (promise P10). Here, because
//! nobody else encodes protobuf.

use althing_proto::peer::v1::{Frame, Refusal};
use bytes::Bytes;
use prost::Message as _;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check(frame: &Frame, golden: &str) {
    let written = frame.encode_to_vec();
    assert_eq!(hex(&written), golden);
    assert_eq!(&Frame::decode(&written[..]).expect("it was just written"), frame);
}

#[test]
fn a_question_and_an_answer_keep_their_encoding() {
    let question = Frame {
        version: 1,
        cluster: Bytes::from_static(&[9; 16]),
        from: 2,
        community: 300,
        method: "raft/vote".to_owned(),
        body: Bytes::from_static(b"abc"),
        refusal: None,
    };
    check(&question, "0801121009090909090909090909090909090909180220ac022a09726166742f766f74653203616263");
    let answer = Frame { body: Bytes::from_static(b"abc"), ..Frame::default() };
    check(&answer, "3203616263");
}

#[test]
fn a_refusal_keeps_its_encoding() {
    let refusal = Refusal { code: "no-group".to_owned(), message: "gone".to_owned() };
    let frame = Frame { refusal: Some(refusal), ..Frame::default() };
    check(&frame, "3a100a086e6f2d67726f75701204676f6e65");
}
