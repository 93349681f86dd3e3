//! `docs/reference/errors.md` is written by this test and must not drift from the tables of code.
//!
//! `ALTHING_WRITE_DOCS=1 cargo test -p althing-proto --test errors_page` writes it anew.

use althing_core::refusal::Code;
use althing_proto::{advice::advice, status};
use std::{env, fmt::Write as _, fs, path::Path};

const HEAD: &str = "\
# Errors

A request that is not carried out is answered with a gRPC status. The status code says what a client
without this table should do; `google.rpc.ErrorInfo` in the details (domain `althing`) says what was
wrong: `reason` is the stable code below, `metadata` has the numbers of the message by name, and
`retry`. Inside of `SubmitStream` the same is said by `Failure`.

`retry` is `never` (it would be refused again), `safe` (it was not carried out: send it again, later
or elsewhere) or `named` (it may have been carried out: send it again only with the same session and
number, so that it is answered and not executed twice).

What a *program* says no to is not here: that is an outcome, in the receipt.

| code | gRPC | retry | meaning | what to do |
|---|---|---|---|---|
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for &code in Code::ALL {
        let advice = advice(code);
        let grpc = status::tonic_code(code);
        let retry = status::retry_text(code.retry());
        writeln!(page, "| `{code}` | {grpc:?} | {retry} | {} | {} |", advice.meaning, advice.remedy)
            .expect("a text takes any text");
    }
    page
}

#[test]
fn the_page_of_errors_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/errors.md");
    let wanted = page();
    if env::var_os("ALTHING_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("docs/reference can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/reference/errors.md is stale; it should say:\n\n{wanted}");
}

#[test]
fn every_code_has_advice_of_its_own() {
    for &code in Code::ALL {
        let same: Vec<_> =
            Code::ALL.iter().filter(|&&other| advice(other).meaning == advice(code).meaning).collect();
        assert_eq!(same, [&code], "two codes mean the same");
    }
}
