//! Where looking for what breaks the door begins: every method with next to nothing, and whole conversations. The
//! messages are written by hand, field by field, as a stranger may.

use super::{METHODS, ROW};
use crate::surfaces::{pieces, values};
use althing_core::{
    ids::Hash,
    policy::Policy,
    portable::Part,
    snapshot::{self, Chunk, Manifest},
};
use althing_engine::thread::on_guest_thread;

/// The session that is opened first: its id is the sequence at which it was, behind the program's.
const SESSION: u64 = 2;

pub(in crate::surfaces) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let count = METHODS.iter().map(|(_, methods)| methods.len()).sum::<usize>() as u8;
    let each = |body: &[u8]| (0..count).map(|which| [&[which][..], body].concat()).collect::<Vec<_>>();
    // The name of a community, in most messages.
    let (first, second) = (each(&text(1, b"c")), each(b""));
    let pages = ["metrics", "healthz", "readyz", "", "no/such/page?x=%ff"];
    let pages = pages.map(|path| [&[255][..], path.as_bytes()].concat());
    vec![
        ("named-a", pieces::join(&first[..20])),
        ("named-b", pieces::join(&first[20..])),
        ("empty-a", pieces::join(&second[..20])),
        ("empty-b", pieces::join(&second[20..])),
        ("pages", pieces::join(&pages)),
        ("operations", pieces::join(&operations())),
        ("law", pieces::join(&law())),
        ("policy", pieces::join(&policy())),
        ("snapshots", pieces::join(&snapshots())),
        ("import", pieces::join(&import())),
    ]
}

/// A session, operations one by one and in a row, and all ways of looking at them.
fn operations() -> Vec<Vec<u8>> {
    let submit = |number_: u64, payload: &[u8]| {
        let numbers = [number(2, SESSION), number(3, number_), number(4, 0), number(5, number_ - 1)];
        [text(1, b"c"), numbers.concat(), text(6, &ann()), text(7, payload)].concat()
    };
    let calls = values::calls();
    let row = [submit(2, &calls), submit(3, b""), submit(2, &calls), submit(9, b"")];
    let local = text(4, &number(3, 1));
    vec![
        one("OpenSession", &[text(1, b"c"), text(2, &ann())].concat()),
        one("Submit", &submit(1, &calls)),
        one("Submit", &submit(1, &calls)),
        many("SubmitStream", &row),
        one("Query", &[text(1, b"c"), text(2, &ann()), text(3, &calls), local].concat()),
        one("Scan", &[text(1, b"c"), text(2, b""), text(3, b"\xff"), number(4, 9)].concat()),
        one("History", &[text(1, b"c"), number(2, 1), number(3, 9)].concat()),
        one("Subscribe", &[text(1, b"c"), number(2, 1)].concat()),
        one("InspectCommunity", &text(1, b"c")),
    ]
}

/// A community of its own, a component and a program.
fn law() -> Vec<Vec<u8>> {
    let component = values::component();
    let hash = Hash::of_component(&component).0;
    let header = text(1, &[text(1, &hash), number(2, component.len() as u64)].concat());
    vec![
        one("CreateCommunity", &[text(1, b"d"), number(2, 1), text(4, b"{}"), text(5, b"wan")].concat()),
        many("UploadComponent", &[header, text(2, &component)]),
        one("ActivateProgram", &[text(1, b"d"), text(2, &ann()), text(3, &hash), number(6, 99)].concat()),
        one("InspectProgram", &text(1, b"d")),
        one("DeleteCommunity", &text(1, b"d")),
    ]
}

/// A community's choices, other than usual and then whole.
fn policy() -> Vec<Vec<u8>> {
    let whole = serde_json::to_vec(&Policy::default()).expect("a policy is numbers with names");
    vec![
        one("CreateCommunity", &[text(1, b"d"), text(4, br#"{"quotas":{"events":9}}"#)].concat()),
        one("SetPolicy", &[text(1, b"d"), text(2, &whole)].concat()),
        one("InspectCommunity", &text(1, b"d")),
    ]
}

/// What can be done with a snapshot.
fn snapshots() -> Vec<Vec<u8>> {
    let at = [text(1, b"c"), number(2, 1)].concat();
    vec![
        one("CreateSnapshot", &text(1, b"c")),
        one("PinSnapshot", &[&at[..], &text(3, b"why")].concat()),
        one("ListSnapshots", &text(1, b"c")),
        one("VerifySnapshots", &at),
        one("UnpinSnapshot", &at),
        one("DeleteSnapshot", &at),
        one("ExportCommunity", &text(1, b"c")),
    ]
}

/// A state that was made elsewhere, with its history.
fn import() -> Vec<Vec<u8>> {
    let (machine, history) = on_guest_thread(|| (values::lived(), values::history()));
    let chunks: Vec<Chunk> = snapshot::chunks(machine.state()).collect();
    let manifest = Manifest::of(&machine.view(), chunks.iter().map(Chunk::reference).collect()).encode();
    let page = Part::transitions(&history).expect("there is a history").body;
    let uploaded = chunks.into_iter().map(|chunk| chunk.bytes).chain([manifest.clone(), page.clone()]);
    let uploaded =
        uploaded.map(|bytes| text(1, &[text(1, &Chunk::of(bytes.clone()).hash.0), text(2, &bytes)].concat()));
    let named = |bytes: &bytes::Bytes| Chunk::of(bytes.clone()).hash.0;
    let before = althing_core::digest::start(machine.community());
    let origin = [
        text(1, b"c"),
        number(2, machine.community().0),
        text(3, b"guild"),
        number(4, machine.sequence().0),
        text(5, &machine.digest().0),
        text(6, &[3; 32]),
    ];
    let import = [
        text(1, b"d"),
        number(2, 1),
        text(5, &origin.concat()),
        text(7, &[text(1, &named(&page)), number(2, page.len() as u64)].concat()),
        text(8, &before.0),
        text(9, &named(&manifest)),
    ];
    vec![
        one("UploadChunks", &uploaded.collect::<Vec<_>>().concat()),
        one("MissingChunks", &text(1, &named(&manifest))),
        one("ImportCommunity", &import.concat()),
        one("History", &[text(1, b"d"), number(2, 0), number(3, 9)].concat()),
    ]
}

fn ann() -> Vec<u8> {
    [text(1, b"ann"), text(2, b"chair")].concat()
}

/// A method's place among all.
fn which(method: &str) -> u8 {
    let mut all = METHODS.iter().flat_map(|(_, methods)| methods.iter());
    all.position(|known| *known == method).expect("it is one of them") as u8
}

/// A call with one message.
fn one(method: &str, message: &[u8]) -> Vec<u8> {
    [&[which(method)][..], message].concat()
}

/// A call with a row of them.
fn many(method: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    [&[which(method) + ROW][..], &pieces::join(messages)].concat()
}

/// A field that holds bytes, a text, or a message.
fn text(field: u8, bytes: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field that holds a number.
fn number(field: u8, value: u64) -> Vec<u8> {
    [&[field << 3][..], &varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
