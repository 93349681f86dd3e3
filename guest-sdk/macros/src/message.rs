//! `#[operation]`, `#[query]`, `#[event]`, `#[config]`, `#[data]`: serde and JSON Schema, with the
//! conventions of the wire, and without the author's crate having to depend on either.
//!
//! What the author writes wins: a `#[serde(tag = …)]` or a `#[derive(Clone)]` of their own is left
//! alone and not repeated.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Ident, Result, parse::Parser, spanned::Spanned};

/// Which conventions an item follows.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// An enum whose JSON names the variant in this key.
    Tagged(&'static str),
    /// An enum whose variants are events.
    Event,
    /// Unknown keys are an error.
    Closed,
    /// Nothing further.
    Plain,
}

/// What is derived, and where it lives.
const DERIVES: [(&str, &str); 6] = [
    ("Clone", "::core::clone::Clone"),
    ("Debug", "::core::fmt::Debug"),
    ("PartialEq", "::core::cmp::PartialEq"),
    ("Serialize", "::althing_guest::__private::serde::Serialize"),
    ("Deserialize", "::althing_guest::__private::serde::Deserialize"),
    ("JsonSchema", "::althing_guest::__private::schemars::JsonSchema"),
];

pub(crate) fn expand(shape: Shape, arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item).map_err(|error| {
        Error::new(error.span(), "this attribute goes on an enum or a struct of your own")
    })?;
    let open = parse_arguments(shape, arguments)?;
    check_item(shape, &item)?;

    let derived = names_in(&item.attrs, "derive")?;
    let derives = DERIVES
        .iter()
        .filter(|(name, _)| !derived.iter().any(|derived| derived == name))
        .map(|(_, path)| syn::parse_str::<syn::Path>(path))
        .collect::<Result<Vec<_>>>()?;

    let written = names_in(&item.attrs, "serde")?;
    let is_enum = matches!(item.data, Data::Enum(_));
    let mut serde = vec![quote!(crate = "::althing_guest::__private::serde")];
    let has = |name: &str| written.iter().any(|written| written == name);
    if is_enum && !has("rename_all") && !has("untagged") {
        serde.push(quote!(rename_all = "kebab-case"));
    }
    if let Shape::Tagged(key) = shape
        && is_enum
        && !has("tag")
        && !has("untagged")
    {
        serde.push(quote!(tag = #key));
    }
    if matches!(shape, Shape::Tagged(_) | Shape::Closed) && !open && !has("deny_unknown_fields") {
        serde.push(quote!(deny_unknown_fields));
    }
    Ok(quote! {
        #[derive(#(#derives),*)]
        #[serde(#(#serde),*)]
        #[schemars(crate = "::althing_guest::__private::schemars")]
        #item
    })
}

/// Whether `open` is among the arguments, the only one there is.
fn parse_arguments(shape: Shape, arguments: TokenStream) -> Result<bool> {
    if arguments.is_empty() {
        return Ok(false);
    }
    let known = matches!(shape, Shape::Tagged(_) | Shape::Closed);
    let argument: Ident = syn::parse2(arguments.clone()).map_err(|error| unknown(known, error.span()))?;
    if known && argument == "open" { Ok(true) } else { Err(unknown(known, argument.span())) }
}

fn unknown(known: bool, span: proc_macro2::Span) -> Error {
    let message = if known {
        "the only argument here is `open`: keys that no field names are overlooked"
    } else {
        "this attribute takes no arguments"
    };
    Error::new(span, message)
}

fn check_item(shape: Shape, item: &DeriveInput) -> Result<()> {
    if !item.generics.params.is_empty() {
        return Err(Error::new(item.generics.span(), "what goes over the wire has no generic parameters"));
    }
    match (&item.data, shape) {
        (Data::Union(data), _) => {
            Err(Error::new(data.union_token.span, "a union has no JSON: write an enum or a struct"))
        }
        (Data::Struct(data), Shape::Event) => Err(Error::new(
            data.struct_token.span,
            "events are an enum, one variant for each: `enum Event { Added { amount: i64 } }`",
        )),
        (Data::Enum(data), Shape::Tagged(key)) => {
            for variant in &data.variants {
                if matches!(&variant.fields, syn::Fields::Unnamed(fields) if fields.unnamed.len() != 1) {
                    return Err(Error::new(
                        variant.fields.span(),
                        format!(
                            "give the fields names: they stand beside the key \"{key}\" in one JSON object"
                        ),
                    ));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The names listed in every attribute `attribute(…)`: the last segment of `a::b`, `a` of `a = …`.
fn names_in(attributes: &[Attribute], attribute: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for found in attributes.iter().filter(|found| found.path().is_ident(attribute)) {
        let list = found.meta.require_list()?;
        let metas = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated
            .parse2(list.tokens.clone())?;
        names.extend(
            metas.iter().filter_map(|meta| meta.path().segments.last()).map(|last| last.ident.to_string()),
        );
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(shape: Shape, arguments: TokenStream, item: TokenStream) -> String {
        expand(shape, arguments, item).unwrap().to_string()
    }

    fn refused(shape: Shape, arguments: TokenStream, item: TokenStream) -> String {
        expand(shape, arguments, item).unwrap_err().to_string()
    }

    #[test]
    fn an_operation_is_tagged_and_closed() {
        let text = expanded(
            Shape::Tagged("op"),
            quote!(),
            quote!(
                enum Operation {
                    Add { amount: i64 },
                }
            ),
        );
        assert!(text.contains(r#"tag = "op""#), "{text}");
        assert!(text.contains(r#"rename_all = "kebab-case""#), "{text}");
        assert!(text.contains("deny_unknown_fields"), "{text}");
    }

    #[test]
    fn an_open_operation_overlooks_unknown_keys() {
        let text = expanded(
            Shape::Tagged("op"),
            quote!(open),
            quote!(
                enum Operation {
                    Add { amount: i64 },
                }
            ),
        );
        assert!(!text.contains("deny_unknown_fields"), "{text}");
    }

    #[test]
    fn what_the_author_wrote_is_not_repeated() {
        let item = quote!(
            #[derive(Clone, Copy)]
            #[serde(tag = "what")]
            enum Operation {
                Add,
            }
        );
        let text = expanded(Shape::Tagged("op"), quote!(), item);
        assert!(!text.contains(r#"tag = "op""#), "{text}");
        assert_eq!(text.matches("Clone").count(), 1, "{text}");
    }

    #[test]
    fn a_mistake_is_named_with_what_to_write_instead() {
        let tuple = refused(
            Shape::Tagged("op"),
            quote!(),
            quote!(
                enum Operation {
                    Add(String, i64),
                }
            ),
        );
        assert!(tuple.contains("give the fields names"), "{tuple}");
        let event = refused(
            Shape::Event,
            quote!(),
            quote!(
                struct Event;
            ),
        );
        assert!(event.contains("events are an enum"), "{event}");
        let argument = refused(
            Shape::Tagged("op"),
            quote!(loose),
            quote!(
                enum Operation {}
            ),
        );
        assert!(argument.contains("`open`"), "{argument}");
        let none = refused(
            Shape::Plain,
            quote!(open),
            quote!(
                struct Data;
            ),
        );
        assert!(none.contains("no arguments"), "{none}");
        let function = refused(
            Shape::Plain,
            quote!(),
            quote!(
                fn f() {}
            ),
        );
        assert!(function.contains("enum or a struct"), "{function}");
    }
}
