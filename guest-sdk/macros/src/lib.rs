//! The macros of the guest SDK: they write the lines that every reducer would repeat.
//!
//! Each macro turns one item into the same item plus plain trait implementations; what it cannot
//! understand it refuses at the place where it stands, with what to write instead. They know
//! nothing of the host: everything they name lives in `althing-guest`.

mod key;
mod message;
mod program;
mod reducer;
mod rejection;
mod validator;

use message::Shape;
use proc_macro::TokenStream;

/// Makes a component of `impl Reducer for Type`.
///
/// Fills in what can be read off the functions: associated types that are not written, the name and
/// version of the package, the export of the component. A `fn migrate` among them makes the reducer
/// one that can take over from an earlier version.
///
/// Arguments: `scope = "per-operation"` (default) or `"per-batch"`; `name = "…"`, `version = "…"`
/// to use others than the package's.
#[proc_macro_attribute]
pub fn reducer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(reducer::expand(arguments.into(), item.into()))
}

/// Makes a component of `impl Validator for Type`. Arguments: `name = "…"`, `version = "…"`.
#[proc_macro_attribute]
pub fn validator(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(validator::expand(arguments.into(), item.into()))
}

/// What clients submit: JSON objects that name themselves in the key `op`, with the variant's name
/// in kebab-case (`Add { amount }` is `{"op": "add", "amount": 1}`). Keys that no field names are an
/// error, unless `#[operation(open)]` says to overlook them.
#[proc_macro_attribute]
pub fn operation(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(message::expand(Shape::Tagged("op"), arguments.into(), item.into()))
}

/// What clients ask: as [`macro@operation`], with the key `query`.
#[proc_macro_attribute]
pub fn query(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(message::expand(Shape::Tagged("query"), arguments.into(), item.into()))
}

/// What subscribers are told: an enum whose variants are events, named in kebab-case.
#[proc_macro_attribute]
pub fn event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(message::expand(Shape::Event, arguments.into(), item.into()))
}

/// What a community sets when it installs the program. Unknown keys are an error.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(message::expand(Shape::Closed, arguments.into(), item.into()))
}

/// Any other data: results, answers, what is kept in the state, what timers carry.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(message::expand(Shape::Plain, arguments.into(), item.into()))
}

/// Makes an enum (or a struct) a rejection: `#[reject("no team is named {team:?}")]` is what people
/// are told, with the fields in braces; the code is the variant's name in kebab-case, or
/// `#[reject(code = "…", "…")]`.
#[proc_macro_derive(Rejection, attributes(reject))]
pub fn rejection(item: TokenStream) -> TokenStream {
    finish(rejection::expand(item.into()))
}

/// Lets a struct be the key of a map or a set: its fields, in their order, as if they were a tuple.
#[proc_macro_derive(Key)]
pub fn key(item: TokenStream) -> TokenStream {
    finish(key::expand(item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
