//! An export, as somebody gives it to `althing verify` and `althing import`: first as any file at all, then with its
//! parts made up and the seal put right, as whoever makes one up can do.

use super::{pieces, values};
use althing_core::{
    batch::Batch,
    codec,
    ids::Hash,
    portable::{End, Header, Kind, Part},
    snapshot::{self, Chunk, Manifest},
    time::Timestamp,
};
use althing_engine::thread::on_guest_thread;
use althing_node::replay;
use althing_store::portable::{Reader, Writer};
use bytes::Bytes;
use std::{fs, path::Path, sync::OnceLock};
use tokio::runtime::Runtime;

pub(super) fn take(bytes: &[u8]) {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made-up.althing");
    runtime().block_on(async {
        if how == 0 {
            fs::write(&path, rest).expect("the disk takes it");
        } else {
            write(&path, rest).await;
        }
        if let Ok(mut reader) = Reader::open(&path).await {
            drop(replay(&mut reader, &values::engine(), |_| ()).await.map(|(_, view)| view.sequence()));
            reader.close().await;
        }
    });
}

/// Each piece a part: a byte for its kind, then its body. Names are right, and so is what only says that it is.
async fn write(path: &Path, bytes: &[u8]) {
    let mut writer = Writer::create(path).await.expect("the disk takes it");
    // Those of a community with two transitions, one of them in each entry.
    let (mut entries, mut transitions) = (4, 2);
    for piece in pieces::split(bytes) {
        let Some((&kind, body)) = piece.split_first() else { continue };
        let kind = Kind::ALL[usize::from(kind) % Kind::ALL.len()];
        let (name, body) = match kind {
            Kind::Header => (String::new(), header(body)),
            Kind::Manifest => {
                let manifest = codec::decode::<Manifest>(body).map(|made_up| made_up.encode().to_vec());
                ("2".to_owned(), manifest.unwrap_or_else(|_| body.to_vec()))
            }
            Kind::Entry => {
                entries += 1;
                (entries.to_string(), body.to_vec())
            }
            Kind::Transitions => {
                transitions += 1;
                (transitions.to_string(), body.to_vec())
            }
            Kind::Component => (Hash::of_component(body).to_string(), body.to_vec()),
            Kind::Chunk => (Chunk::of(body.to_vec().into()).hash.to_string(), body.to_vec()),
            Kind::End => (String::new(), body.to_vec()),
        };
        writer.add(kind.text(), &name, &body).await.expect("the disk takes it");
    }
    writer.finish().await.expect("the disk takes it");
}

fn header(body: &[u8]) -> Vec<u8> {
    let Ok(mut header) = codec::decode::<Header>(body) else { return body.to_vec() };
    header.fingerprint = values::engine().fingerprint();
    codec::encode(&header)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let made = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    RUNTIME.get_or_init(|| made().expect("a runtime"))
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let sealed = |parts: &[Part]| {
        let piece = |part: &Part| {
            let kind = Kind::ALL.iter().position(|kind| *kind == part.kind).expect("it is one of them");
            let body = match part.kind {
                Kind::Manifest => codec::encode(&Manifest::decode(&part.body).expect("it is a good one")),
                _ => part.body.to_vec(),
            };
            [&[kind as u8][..], &body].concat()
        };
        let row = pieces::join(&parts.iter().map(piece).collect::<Vec<_>>());
        [&[1][..], &row].concat()
    };
    let parts = parts();
    vec![("whole", sealed(&parts)), ("no-end", sealed(&parts[..parts.len() - 1])), ("no-file", vec![0, 1, 2])]
}

/// The export of a community that has lived, and then does one thing more.
fn parts() -> Vec<Part> {
    let mut machine = on_guest_thread(values::lived);
    let chunks: Vec<Chunk> = snapshot::chunks(machine.state()).collect();
    let start = Manifest::of(&machine.view(), chunks.iter().map(Chunk::reference).collect());
    let header = Header {
        name: "guild".into(),
        community: machine.community(),
        cluster: "c".into(),
        fingerprint: values::engine().fingerprint(),
        listing: String::new(),
        version: "0.1.0".into(),
    };
    let batch = Batch {
        stamp: Timestamp::new(machine.time().millis() + 1, 0),
        commands: vec![values::operation(1, Bytes::new())],
    };
    let applied = on_guest_thread(|| machine.apply(&batch, &mut values::programs()));
    let transitions = applied.expect("nothing is wrong here").transitions;
    let end = End {
        sequence: machine.sequence(),
        digest: machine.digest(),
        log_index: 5,
        entries: 1,
        transitions: transitions.len() as u64,
        components: 1,
        chunks: chunks.len() as u64,
    };
    let component = Bytes::from(values::component());
    let mut parts = vec![
        Part::header(&header),
        Part::manifest(start.sequence, start.encode()),
        Part::entry(5, codec::encode(&batch).into()),
    ];
    parts.extend(Part::transitions(&transitions));
    parts.push(Part::component(Hash::of_component(&component), component));
    parts.extend(chunks.into_iter().map(|chunk| Part::chunk(chunk.hash, chunk.bytes)));
    parts.push(Part::end(&end));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_seed_is_an_export_that_holds() {
        let (_, seed) = seeds().swap_remove(0);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("whole.althing");
        runtime().block_on(async {
            write(&path, &seed[1..]).await;
            let mut reader = Reader::open(&path).await.expect("it is an export");
            let (_, view) = replay(&mut reader, &values::engine(), |_| ()).await.expect("it holds");
            assert_eq!(view.sequence().0, 3);
        });
    }
}
