//! What the build script made of the `.proto` files; their comments are its documentation.
#![expect(missing_docs, reason = "the .proto files do not repeat the name of each field")]
#![expect(unreachable_pub, reason = "generated code is public, what it is seen as is decided in lib.rs")]
#![expect(clippy::allow_attributes, reason = "generated code suppresses lints in its own way")]
#![expect(clippy::too_many_lines, reason = "generated code matches over all methods in one function")]

include!(concat!(env!("OUT_DIR"), "/packages.rs"));
