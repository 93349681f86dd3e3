//! `#[reducer]`: what an `impl Reducer` leaves unsaid, and the component's export.
//!
//! Types that the functions name need not be named again: `fn reduce(cx: &Context, operation:
//! Operation) -> Result<i64>` says what `Operation` and `Result` are. Only what a signature shows is
//! used; types behind an alias must be written out.

use crate::program::{self, Arguments, Signature};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use std::collections::BTreeMap;
use syn::{Error, ImplItem, ItemImpl, Result, Type, parse_quote};

const FUNCTIONS: [&str; 5] = ["init", "reduce", "query", "on_timer", "migrate"];

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = Arguments::parse(arguments, &["name", "version", "scope"])?;
    let mut item = program::parse_impl(item, "Reducer", "reducer")?;
    program::check_functions(&item, &FUNCTIONS)?;
    let signatures = program::signatures(&item)?;
    if !signatures.contains_key("reduce") {
        return Err(Error::new_spanned(
            &item.self_ty,
            "a reducer decides operations: `fn reduce(cx: &Context, operation: Operation) -> Result<…>`",
        ));
    }
    for (name, ty) in inferred(&signatures)? {
        program::add_type(&mut item, name, &ty);
    }
    add_constants(&mut item, &arguments)?;
    let migration = split_migration(&mut item);
    let migrates = migration.is_some();
    let export = export(&item.self_ty, migrates);
    Ok(quote! {
        #item
        #migration
        #export
    })
}

/// The associated types as far as the functions show them; where none does, the empty choice.
fn inferred(signatures: &BTreeMap<String, Signature>) -> Result<Vec<(&'static str, Type)>> {
    let nothing: Type = parse_quote!(::althing_guest::Nothing);
    let unit: Type = parse_quote!(());
    let argument = |name: &str, index: usize| -> Option<Type> {
        signatures.get(name).and_then(|signature| signature.arguments.get(index).cloned())
    };
    let result = |name: &str| signatures.get(name).and_then(|signature| signature.success.clone());
    let rejection = FUNCTIONS.iter().find_map(|name| signatures.get(*name)?.failure.clone());
    Ok(vec![
        ("Config", argument("init", 1).or_else(|| argument("migrate", 2)).unwrap_or_else(|| unit.clone())),
        ("Operation", argument("reduce", 1).unwrap_or_else(|| nothing.clone())),
        ("Result", result("reduce").unwrap_or_else(|| unit.clone())),
        ("Query", argument("query", 1).unwrap_or_else(|| nothing.clone())),
        ("Answer", result("query").unwrap_or(unit)),
        ("Event", nothing.clone()),
        ("Timer", argument("on_timer", 1).unwrap_or(nothing)),
        ("Rejection", rejection.unwrap_or_else(|| parse_quote!(::althing_guest::Rejected))),
    ])
}

fn add_constants(item: &mut ItemImpl, arguments: &Arguments) -> Result<()> {
    let scope = match arguments.get("scope").map(|scope| (scope.value(), scope.span())) {
        None => format_ident!("PerOperation"),
        Some((scope, _)) if scope == "per-operation" => format_ident!("PerOperation"),
        Some((scope, _)) if scope == "per-batch" => format_ident!("PerBatch"),
        Some((_, span)) => {
            return Err(Error::new(span, "a scope is \"per-operation\" or \"per-batch\""));
        }
    };
    program::add_names(item, arguments);
    item.items.push(parse_quote! {
        const SCOPE: ::althing_guest::Scope = ::althing_guest::Scope::#scope;
    });
    Ok(())
}

/// Takes `fn migrate` out of the implementation into one of `Migrate`.
fn split_migration(item: &mut ItemImpl) -> Option<ItemImpl> {
    let place = item
        .items
        .iter()
        .position(|inner| matches!(inner, ImplItem::Fn(function) if function.sig.ident == "migrate"))?;
    let migrate = item.items.remove(place);
    let ty = &item.self_ty;
    Some(parse_quote! {
        impl ::althing_guest::Migrate for #ty {
            #migrate
        }
    })
}

fn export(ty: &Type, migrates: bool) -> TokenStream {
    let migration = migrates.then(|| {
        quote! {
            ::althing_guest::component::migrating::export!(
                Exported with_types_in ::althing_guest::component::migrating
            );
        }
    });
    program::exported(&quote! {
        type Exported = ::althing_guest::component::Reducing<#ty>;
        ::althing_guest::component::reducing::export!(
            Exported with_types_in ::althing_guest::component::reducing
        );
        #migration
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(item: TokenStream) -> String {
        expand(quote!(), item).unwrap().to_string()
    }

    fn refused(arguments: TokenStream, item: TokenStream) -> String {
        expand(arguments, item).unwrap_err().to_string()
    }

    fn counter() -> TokenStream {
        quote! {
            impl Reducer for Counter {
                fn reduce(cx: &Context, operation: Operation) -> Result<i64> {
                    Ok(1)
                }
            }
        }
    }

    #[test]
    fn types_are_read_off_the_functions() {
        let text = expanded(quote! {
            impl Reducer for Counter {
                fn init(cx: &Context, start: Start) -> Result<(), Refusal> { Ok(()) }
                fn reduce(cx: &Context, Operation::Add { amount }: Operation) -> Result<i64, Refusal> { Ok(1) }
                fn query(cx: &Context, query: Query) -> Result<Answer, Refusal> { Ok(1) }
            }
        });
        for wanted in [
            "type Config = Start",
            "type Operation = Operation",
            "type Result = i64",
            "type Query = Query",
            "type Answer = Answer",
            "type Rejection = Refusal",
            "type Timer = :: althing_guest :: Nothing",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in {text}");
        }
    }

    #[test]
    fn a_written_type_is_kept() {
        let text = expanded(quote! {
            impl Reducer for Counter {
                type Rejection = Mine;
                fn reduce(cx: &Context, operation: Operation) -> Result<i64> { Ok(1) }
            }
        });
        assert!(text.contains("type Rejection = Mine"), "{text}");
        assert!(!text.contains("type Rejection = :: althing_guest"), "{text}");
    }

    #[test]
    fn migrate_becomes_an_implementation_of_its_own() {
        let text = expanded(quote! {
            impl Reducer for Counter {
                fn reduce(cx: &Context, operation: Operation) -> Result<i64> { Ok(1) }
                fn migrate(cx: &Context, from: &str, config: Start) -> Result { Ok(()) }
            }
        });
        assert!(text.contains("impl :: althing_guest :: Migrate for Counter"), "{text}");
        assert!(text.contains("type Config = Start"), "{text}");
        assert!(text.contains("migrating :: export"), "{text}");
        assert!(!expanded(counter()).contains("migrating"));
    }

    #[test]
    fn mistakes_are_refused_with_what_to_write_instead() {
        let scope = refused(quote!(scope = "forever"), counter());
        assert!(scope.contains("\"per-batch\""), "{scope}");
        let argument = refused(quote!(speed = "fast"), counter());
        assert!(argument.contains("name, version, scope"), "{argument}");
        let inherent = refused(quote!(), quote!(impl Counter {}));
        assert!(inherent.contains("impl Reducer for"), "{inherent}");
        let none = refused(quote!(), quote!(impl Reducer for Counter {}));
        assert!(none.contains("fn reduce"), "{none}");
        let unknown = refused(quote!(), quote!(impl Reducer for Counter { fn reduse() {} }));
        assert!(unknown.contains("`reduse`") && unknown.contains("on_timer"), "{unknown}");
        let alias = refused(
            quote!(),
            quote!(impl Reducer for Counter { fn reduce(cx: &Context, o: O) -> Mine { x } }),
        );
        assert!(alias.contains("Result<…>"), "{alias}");
    }
}
