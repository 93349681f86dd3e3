//! `#[validator]`: what an `impl Validator` leaves unsaid, and the component's export.

use crate::program::{self, Arguments};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Result, Type, parse_quote};

const FUNCTIONS: [&str; 2] = ["validate", "validate_timer"];

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = Arguments::parse(arguments, &["name", "version"])?;
    let mut item = program::parse_impl(item, "Validator", "validator")?;
    program::check_functions(&item, &FUNCTIONS)?;
    let signatures = program::signatures(&item)?;
    let Some(validate) = signatures.get("validate").filter(|validate| validate.arguments.len() == 4) else {
        return Err(Error::new_spanned(
            &item.self_ty,
            "a validator looks at operations: `fn validate(cx: &Context, config: &Config, operation: \
             &Operation, change: &Change) -> Result`",
        ));
    };
    let rejection = validate.failure.clone().unwrap_or_else(|| parse_quote!(::althing_guest::Rejected));
    for (name, ty) in [
        ("Config", referenced(&validate.arguments[1])?),
        ("Operation", referenced(&validate.arguments[2])?),
        ("Rejection", rejection),
    ] {
        program::add_type(&mut item, name, &ty);
    }
    program::add_names(&mut item, &arguments);
    let ty = &item.self_ty;
    let export = program::exported(&quote! {
        type Exported = ::althing_guest::component::Validating<#ty>;
        ::althing_guest::component::validating::export!(
            Exported with_types_in ::althing_guest::component::validating
        );
    });
    Ok(quote! {
        #item
        #export
    })
}

fn referenced(ty: &Type) -> Result<Type> {
    match ty {
        Type::Reference(reference) => Ok((*reference.elem).clone()),
        other => Err(Error::new_spanned(other, "this is lent: write `&` before the type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_off_validate() {
        let item = quote! {
            impl Validator for Limit {
                fn validate(cx: &Context, config: &Limits, operation: &Operation, change: &Change) -> Result {
                    Ok(())
                }
            }
        };
        let text = expand(quote!(), item).unwrap().to_string();
        assert!(text.contains("type Config = Limits"), "{text}");
        assert!(text.contains("type Rejection = :: althing_guest :: Rejected"), "{text}");
    }

    #[test]
    fn mistakes_are_refused_with_what_to_write_instead() {
        let few = quote!(impl Validator for Limit { fn validate(cx: &Context) -> Result { Ok(()) } });
        let error = expand(quote!(), few).unwrap_err().to_string();
        assert!(error.contains("change: &Change"), "{error}");
        let owned = quote! {
            impl Validator for Limit {
                fn validate(cx: &Context, c: Limits, o: &Operation, change: &Change) -> Result { Ok(()) }
            }
        };
        let error = expand(quote!(), owned).unwrap_err().to_string();
        assert!(error.contains("write `&`"), "{error}");
    }
}
