//! What `#[reducer]` and `#[validator]` share: reading an implementation and adding to it.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use std::collections::BTreeMap;
use syn::{
    Error, FnArg, GenericArgument, ImplItem, ImplItemFn, ItemImpl, LitStr, PathArguments, Result, ReturnType,
    Type, parse::Parser, parse_quote, spanned::Spanned,
};

/// `name = "text"` arguments of an attribute.
pub(crate) struct Arguments(BTreeMap<String, LitStr>);

impl Arguments {
    pub(crate) fn parse(tokens: TokenStream, known: &[&str]) -> Result<Self> {
        let mut arguments = BTreeMap::new();
        let parser = syn::meta::parser(|meta| {
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if !known.contains(&name.as_str()) {
                return Err(
                    meta.error(format!("`{name}` is no argument here; there are {}", known.join(", ")))
                );
            }
            arguments.insert(name, meta.value()?.parse()?);
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(Self(arguments))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&LitStr> {
        self.0.get(name)
    }
}

/// What a function takes and gives: its argument types, and both sides of its `Result`.
pub(crate) struct Signature {
    pub(crate) arguments: Vec<Type>,
    pub(crate) success: Option<Type>,
    pub(crate) failure: Option<Type>,
}

pub(crate) fn parse_impl(item: TokenStream, wanted: &str, attribute: &str) -> Result<ItemImpl> {
    let here = format!("#[{attribute}] goes on `impl {wanted} for YourType {{ … }}`");
    let item: ItemImpl = syn::parse2(item).map_err(|error| Error::new(error.span(), &here))?;
    let is_wanted = item
        .trait_
        .as_ref()
        .and_then(|(_, path, _)| path.segments.last())
        .is_some_and(|last| last.ident == wanted);
    if !is_wanted {
        return Err(Error::new(item.impl_token.span, here));
    }
    if !item.generics.params.is_empty() {
        return Err(Error::new(item.generics.span(), "a component has no generic parameters"));
    }
    Ok(item)
}

pub(crate) fn check_functions(item: &ItemImpl, known: &[&str]) -> Result<()> {
    for function in functions(item) {
        let name = &function.sig.ident;
        if !known.iter().any(|known| name == known) {
            return Err(Error::new(
                name.span(),
                format!(
                    "`{name}` is none of {}: put functions of your own in another `impl` block",
                    known.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

pub(crate) fn signatures(item: &ItemImpl) -> Result<BTreeMap<String, Signature>> {
    functions(item).map(|function| Ok((function.sig.ident.to_string(), signature(function)?))).collect()
}

fn functions(item: &ItemImpl) -> impl Iterator<Item = &ImplItemFn> {
    item.items.iter().filter_map(|inner| match inner {
        ImplItem::Fn(function) => Some(function),
        _ => None,
    })
}

fn signature(function: &ImplItemFn) -> Result<Signature> {
    let arguments = function
        .sig
        .inputs
        .iter()
        .map(|input| match input {
            FnArg::Typed(typed) => Ok((*typed.ty).clone()),
            FnArg::Receiver(receiver) => Err(Error::new(
                receiver.span(),
                "there is no `self`: all memory is in the state. The first argument is `cx: &Context`",
            )),
        })
        .collect::<Result<_>>()?;
    let wanted = "this returns a `Result<…>`, written out: its types are read from here";
    let ReturnType::Type(_, output) = &function.sig.output else {
        return Err(Error::new(function.sig.ident.span(), wanted));
    };
    let Type::Path(path) = &**output else { return Err(Error::new(output.span(), wanted)) };
    let last = path.path.segments.last().filter(|last| last.ident == "Result");
    let last = last.ok_or_else(|| Error::new(output.span(), wanted))?;
    let mut sides = match &last.arguments {
        PathArguments::AngleBracketed(generic) => generic
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
    .into_iter();
    Ok(Signature { arguments, success: sides.next(), failure: sides.next() })
}

/// Adds an associated type that is not written. A type that names the implementation's own
/// associated type would define itself, and is left to the compiler to complain about.
pub(crate) fn add_type(item: &mut ItemImpl, name: &str, ty: &Type) {
    let written = item.items.iter().any(|inner| matches!(inner, ImplItem::Type(ty) if ty.ident == name));
    if !written {
        let name = format_ident!("{name}");
        item.items.push(parse_quote!(type #name = #ty;));
    }
}

/// Adds name and version: the arguments', or else the package's.
pub(crate) fn add_names(item: &mut ItemImpl, arguments: &Arguments) {
    let given = |argument: &str, fallback: TokenStream| {
        arguments.get(argument).map_or(fallback, |given| quote!(#given))
    };
    let name = given("name", quote!(::core::env!("CARGO_PKG_NAME")));
    let version = given("version", quote!(::core::env!("CARGO_PKG_VERSION")));
    item.items.push(parse_quote!(const NAME: &'static str = #name;));
    item.items.push(parse_quote!(const VERSION: &'static str = #version;));
}

/// The export, compiled only where the package itself is built as a component (`althing build` sets
/// the flag): a reducer that another component merely depends on, for its types, exports nothing.
pub(crate) fn exported(body: &TokenStream) -> TokenStream {
    quote! {
        #[allow(unexpected_cfgs)]
        const _: () = {
            #[cfg(all(target_arch = "wasm32", althing_component))]
            #[allow(unsafe_code)]
            const _: () = { #body };
        };
    }
}
