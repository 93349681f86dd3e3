//! `#[derive(Rejection)]`: a code for programs and a message for people, from one enum.
//!
//! Codes are checked here, when the author compiles, against what the contract allows: lower-case
//! words joined by `-`, at most 64 bytes.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Token,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

const CODE_BYTES_MAX: usize = 64;

/// `#[reject("message", code = "…")]`, in any order.
#[derive(Default)]
struct Reject {
    message: Option<LitStr>,
    code: Option<LitStr>,
}

impl Parse for Reject {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut reject = Self::default();
        while !input.is_empty() {
            if input.peek(LitStr) {
                reject.message = Some(input.parse()?);
            } else {
                let name: Ident = input.parse()?;
                if name != "code" {
                    return Err(Error::new(name.span(), "`code = \"…\"` or a message is wanted here"));
                }
                input.parse::<Token![=]>()?;
                reject.code = Some(input.parse()?);
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(reject)
    }
}

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let name = &item.ident;
    let arms = match &item.data {
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let ident = &variant.ident;
                arm(&quote!(Self::#ident), ident, &variant.fields, &variant.attrs)
            })
            .collect::<Result<Vec<_>>>()?,
        Data::Struct(data) => vec![arm(&quote!(Self), name, &data.fields, &item.attrs)?],
        Data::Union(data) => {
            return Err(Error::new(data.union_token.span, "a rejection is an enum or a struct"));
        }
    };
    let (impl_generics, ty_generics, where_clause) = item.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::althing_guest::Rejection for #name #ty_generics #where_clause {
            fn into_rejected(self) -> ::althing_guest::Rejected {
                match self { #(#arms)* }
            }
        }
    })
}

/// One arm: the pattern binds every field, the message may name each.
fn arm(path: &TokenStream, ident: &Ident, fields: &Fields, attributes: &[Attribute]) -> Result<TokenStream> {
    let reject = reject_of(ident, attributes)?;
    let code = code_of(ident, reject.code.as_ref())?;
    let message = reject.message.ok_or_else(|| missing(ident))?;
    let (pattern, positions) = match fields {
        Fields::Named(fields) => {
            let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
            (quote!({ #(#names),* }), Vec::new())
        }
        Fields::Unnamed(fields) => {
            let names: Vec<Ident> =
                (0..fields.unnamed.len()).map(|index| format_ident!("field_{index}")).collect();
            (quote!((#(#names),*)), names)
        }
        Fields::Unit => (quote!(), Vec::new()),
    };
    // A message may leave out fields; naming each once keeps positions from being "never used".
    let touched = positions.iter().map(|name| quote!(let _ = &#name;));
    let used = (0..positions.len())
        .filter(|index| mentions(&message.value(), *index))
        .map(|index| positions[index].clone())
        .collect::<Vec<_>>();
    if used.len() != positions.len() && !used.is_empty() {
        return Err(Error::new(message.span(), "name either all of the unnamed fields, or none"));
    }
    Ok(quote! {
        #[allow(unused_variables)]
        #path #pattern => {
            #(#touched)*
            ::althing_guest::Rejected::new(#code, ::std::format!(#message #(, #used)*))
        }
    })
}

/// Whether a format text uses the argument at `index` by position.
fn mentions(text: &str, index: usize) -> bool {
    text.contains(&format!("{{{index}}}")) || text.contains(&format!("{{{index}:"))
}

fn reject_of(ident: &Ident, attributes: &[Attribute]) -> Result<Reject> {
    let mut found = attributes.iter().filter(|attribute| attribute.path().is_ident("reject"));
    let attribute = found.next().ok_or_else(|| missing(ident))?;
    if let Some(second) = found.next() {
        return Err(Error::new(second.span(), "one `#[reject(…)]` is enough"));
    }
    attribute.parse_args()
}

fn missing(ident: &Ident) -> Error {
    Error::new(
        ident.span(),
        format!(
            "what are people told when `{ident}` happens? Write #[reject(\"what was wrong, what to do\")]"
        ),
    )
}

fn code_of(ident: &Ident, given: Option<&LitStr>) -> Result<String> {
    let (code, span) = match given {
        Some(given) => (given.value(), given.span()),
        None => (kebab(&ident.to_string()), ident.span()),
    };
    check_code(&code, span)?;
    Ok(code)
}

fn check_code(code: &str, span: Span) -> Result<()> {
    let words = code.split('-').all(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    });
    if words && code.len() <= CODE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(
        span,
        format!("{code:?} is no code: lower-case words joined by `-`, at most {CODE_BYTES_MAX} bytes"),
    ))
}

/// `NoSuchTeam` as `no-such-team`, the way serde's `kebab-case` does it.
pub(crate) fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_variants_name_in_kebab_case() {
        let item = quote!(
            enum Refusal {
                #[reject("no team is named {team:?}")]
                NoSuchTeam { team: String },
            }
        );
        let text = expand(item).unwrap().to_string();
        assert!(text.contains(r#""no-such-team""#), "{text}");
        assert!(text.contains("NoSuchTeam { team }"), "{text}");
    }

    #[test]
    fn a_code_can_be_given() {
        let item = quote!(
            enum Refusal {
                #[reject(code = "poor", "{0} is too little")]
                Overdraft(u64),
            }
        );
        let text = expand(item).unwrap().to_string();
        assert!(text.contains(r#""poor""#), "{text}");
    }

    #[test]
    fn a_variant_without_a_message_is_refused_by_name() {
        let error = expand(quote!(
            enum Refusal {
                Late,
            }
        ))
        .unwrap_err()
        .to_string();
        assert!(error.contains("`Late`") && error.contains("#[reject("), "{error}");
    }

    #[test]
    fn a_code_that_the_contract_forbids_is_refused() {
        for code in ["No", "a--b", "", "a b", &"a".repeat(65)] {
            let error = check_code(code, Span::call_site()).unwrap_err().to_string();
            assert!(error.contains("is no code"), "{error}");
        }
        check_code("no-such-team-2", Span::call_site()).unwrap();
    }
}
