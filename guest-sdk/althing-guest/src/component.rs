//! The component's side of the contract: bindings made from `wit/`, and what connects them with the
//! traits an author implements. `#[reducer]` and `#[validator]` name it; authors do not.

use crate::{
    context::{Actor, Context, OperationId, Timestamp},
    dispatch,
    log::{Level, log},
    reducer::{Migrate, Reducer, Scope},
    rejection::Rejected,
    validator::{Change, Validator, Write},
};
use std::{marker::PhantomData, sync::Once};

/// Bindings of the world `reducer`.
#[expect(missing_docs, reason = "generated from wit/, where the words are")]
pub mod reducing {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "reducer",
        pub_export_macro: true,
    });
}

/// Bindings of what `migrating-reducer` has beyond `reducer`.
#[expect(missing_docs, reason = "generated from wit/, where the words are")]
pub mod migrating {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package althing:guest; world migrating { export althing:reducer/migration@0.1.0; }",
        world: "althing:guest/migrating",
        with: { "althing:reducer/types@0.1.0": super::reducing::althing::reducer::types },
        pub_export_macro: true,
    });
}

/// Bindings of the world `validator`.
#[expect(missing_docs, reason = "generated from wit/, where the words are")]
pub mod validating {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "validator",
        with: {
            "althing:reducer/types@0.1.0": super::reducing::althing::reducer::types,
            "althing:reducer/state@0.1.0": super::reducing::althing::reducer::state,
            "althing:reducer/log@0.1.0": super::reducing::althing::reducer::log,
        },
        pub_export_macro: true,
    });
}

use migrating::exports::althing::reducer::migration;
use reducing::{althing::reducer::types, exports::althing::reducer::reduction};
use validating::exports::althing::reducer::validation;

/// A reducer as a component.
pub struct Reducing<R>(PhantomData<R>);

/// A validator as a component.
pub struct Validating<V>(PhantomData<V>);

impl<R: Reducer> reduction::Guest for Reducing<R> {
    fn describe() -> reduction::Description {
        let said = dispatch::describe::<R>();
        reduction::Description {
            name: said.name,
            version: said.version,
            scope: match said.scope {
                Scope::PerOperation => reduction::InstanceScope::PerOperation,
                Scope::PerBatch => reduction::InstanceScope::PerBatch,
            },
            config: said.config,
            operations: said.operations,
            queries: said.queries,
            results: said.results,
            answers: said.answers,
            events: said.events,
        }
    }

    fn init(context: types::Context, config: Vec<u8>) -> Result<(), types::Rejection> {
        call(context, |cx| dispatch::init::<R>(cx, &config))
    }

    fn reduce(context: types::Context, operation: Vec<u8>) -> Result<Vec<u8>, types::Rejection> {
        call(context, |cx| dispatch::reduce::<R>(cx, &operation))
    }

    fn on_timer(context: types::Context, _id: Vec<u8>, payload: Vec<u8>) -> Result<(), types::Rejection> {
        call(context, |cx| dispatch::on_timer::<R>(cx, &payload))
    }

    fn query(context: types::Context, question: Vec<u8>) -> Result<Vec<u8>, types::Rejection> {
        call(context, |cx| dispatch::query::<R>(cx, &question))
    }
}

impl<R: Migrate> migration::Guest for Reducing<R> {
    fn migrate(
        context: types::Context,
        from_version: String,
        config: Vec<u8>,
    ) -> Result<(), types::Rejection> {
        call(context, |cx| dispatch::migrate::<R>(cx, &from_version, &config))
    }
}

impl<V: Validator> validation::Guest for Validating<V> {
    fn describe() -> validation::Description {
        validation::Description {
            name: V::NAME.into(),
            version: V::VERSION.into(),
            config: dispatch::validator_config::<V>(),
        }
    }

    fn validate(
        context: types::Context,
        config: Vec<u8>,
        operation: Vec<u8>,
        change: types::Change,
    ) -> Result<(), types::Rejection> {
        let change = Change {
            result: change.outcome,
            writes: change
                .writes
                .into_iter()
                .map(|write| Write { key: write.key, value: write.value })
                .collect(),
            events: change.events.into_iter().map(|event| (event.name, event.data)).collect(),
        };
        call(context, |cx| dispatch::validate::<V>(cx, &config, &operation, &change))
    }
}

fn call<T>(
    context: types::Context,
    run: impl FnOnce(&Context) -> Result<T, Rejected>,
) -> Result<T, types::Rejection> {
    tell_panics();
    run(&Context {
        community: context.community,
        sequence: context.sequence,
        time: Timestamp { millis: context.time.millis, counter: context.time.counter },
        actor: Actor { id: context.actor.id, roles: context.actor.roles },
        operation: OperationId { session: context.operation.session, number: context.operation.number },
    })
    .map_err(|Rejected { code, message }| types::Rejection { code, message })
}

/// A panic is a trap, and a trap says nothing; so the words go to the node's log first.
fn tell_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    });
}
