//! `#[derive(Key)]`: a struct as a key, field by field.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, Result};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let wanted = "a key is a struct with fields: `struct Name(String);`";
    let Data::Struct(data) = &item.data else {
        return Err(Error::new(item.ident.span(), wanted));
    };
    let count = data.fields.len();
    if count == 0 {
        return Err(Error::new(item.ident.span(), wanted));
    }
    let name = &item.ident;
    let bindings: Vec<_> = (0..count).map(|index| format_ident!("field_{index}")).collect();
    let pattern = match &data.fields {
        Fields::Named(fields) => {
            let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
            quote!({ #(#names: #bindings),* })
        }
        _ => quote!((#(#bindings),*)),
    };
    // Only the last field of the last element may go without its end mark.
    let last = (0..count).map(|index| if index + 1 == count { quote!(last) } else { quote!(false) });
    let last: Vec<_> = last.collect();
    Ok(quote! {
        #[automatically_derived]
        impl ::althing_guest::key::Key for #name {
            fn read(last: bool, bytes: &mut &[u8]) -> ::core::option::Option<Self> {
                #(let #bindings = ::althing_guest::key::Key::read(#last, bytes)?;)*
                ::core::option::Option::Some(Self #pattern)
            }
        }
        #[automatically_derived]
        impl ::althing_guest::key::AsKey<#name> for #name {
            fn write(&self, last: bool, out: &mut ::std::vec::Vec<u8>) {
                let Self #pattern = self;
                #(::althing_guest::key::write(#bindings, #last, out);)*
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_field_may_go_without_an_end() {
        let text = expand(quote!(
            struct Place {
                team: String,
                person: String,
            }
        ))
        .unwrap()
        .to_string();
        assert!(text.contains("read (false , bytes)") && text.contains("read (last , bytes)"), "{text}");
    }

    #[test]
    fn an_enum_is_no_key() {
        let error = expand(quote!(
            enum Place {
                Here,
            }
        ))
        .unwrap_err()
        .to_string();
        assert!(error.contains("a key is a struct"), "{error}");
    }
}
