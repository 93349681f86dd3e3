//! From a compiled component to one that can be called: imports satisfied, exports found.

use crate::{
    admission::{Kind, MIGRATION, REDUCTION, VALIDATION},
    answer::Answer,
    bindings::{reduction, types, validation},
    describe::Description,
    host::{self, Guest},
    run::{self, Exports, Lent, Linked},
    thread,
};
use althing_core::{
    actor::Actor,
    ids::{CommunityId, Hash, OperationNumber, Sequence, SessionId},
    overlay::{Access, Overlay},
    policy::{Policy, Quotas},
    program::{Context, Fault},
    state::State,
    time::Timestamp,
    transition::Trap,
};
use wasmtime::{
    Store,
    component::{Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Linker, Lower},
};

/// Fuel of `describe`: plenty for a constant.
const DESCRIBE_FUEL: u64 = 1_000_000_000;
/// Memory of `describe`, whatever a community's quota will be.
const DESCRIBE_MEMORY_BYTES: u64 = althing_core::limits::GUEST_MEMORY_BYTES_MAX;

/// What the two kinds may import.
pub(crate) struct Linkers {
    reducer: Linker<Guest>,
    validator: Linker<Guest>,
}

impl Linkers {
    pub(crate) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        Ok(Self { reducer: host::reducer_linker(engine)?, validator: host::validator_linker(engine)? })
    }
}

/// A component that is linked and known: what programs hold.
pub(crate) struct Loaded {
    pub(crate) linked: Linked,
    pub(crate) description: Description,
}

/// Links a component. The types of its imports are checked here, those of its exports by
/// [`describe`].
pub(crate) fn link(
    linkers: &Linkers,
    component: Hash,
    compiled: &Component,
    kind: Kind,
    memory_bytes: u64,
) -> wasmtime::Result<Linked> {
    let (linker, exports) = match kind {
        Kind::Reducer { migrates } => (&linkers.reducer, reducer_exports(compiled, migrates)?),
        Kind::Validator => (&linkers.validator, validator_exports(compiled)?),
    };
    Ok(Linked { component, kind, memory_bytes, pre: linker.instantiate_pre(compiled)?, exports })
}

fn reducer_exports(compiled: &Component, migrates: bool) -> wasmtime::Result<Exports> {
    let of = |function| find(compiled, REDUCTION, function);
    Ok(Exports::Reducer {
        describe: of("describe")?,
        init: of("init")?,
        reduce: of("reduce")?,
        on_timer: of("on-timer")?,
        query: of("query")?,
        migrate: if migrates { Some(find(compiled, MIGRATION, "migrate")?) } else { None },
    })
}

fn validator_exports(compiled: &Component) -> wasmtime::Result<Exports> {
    let of = |function| find(compiled, VALIDATION, function);
    Ok(Exports::Validator { describe: of("describe")?, validate: of("validate")? })
}

fn find(compiled: &Component, interface: &str, function: &str) -> wasmtime::Result<ComponentExportIndex> {
    compiled
        .get_export_index(None, interface)
        .and_then(|interface| compiled.get_export_index(Some(&interface), function))
        .ok_or_else(|| wasmtime::format_err!("export {interface}#{function} is missing"))
}

/// Why a component could not be asked what it is.
#[derive(Debug)]
pub(crate) enum NotDescribed {
    /// An export has another type than the world's.
    OtherTypes(wasmtime::Error),
    /// It trapped.
    Trap(Trap),
    /// The engine failed.
    Fault(Fault),
}

/// Checks the types of a component's exports and asks it what it is.
pub(crate) fn describe(linked: &Linked) -> Result<Description, NotDescribed> {
    thread::on_guest_thread(|| {
        check_types(linked).map_err(NotDescribed::OtherTypes)?;
        match linked.exports {
            Exports::Reducer { describe, .. } => ask(linked, describe).map(Description::of_reducer),
            Exports::Validator { describe, .. } => ask(linked, describe).map(Description::of_validator),
        }
    })
}

fn ask<R>(linked: &Linked, describe: ComponentExportIndex) -> Result<R, NotDescribed>
where
    (R,): ComponentNamedList + Lift,
{
    let context = nobody();
    let ended = run::call(linked, None, nothing(&context), describe, ()).map_err(NotDescribed::Fault)?;
    ended.answer.map_err(NotDescribed::Trap)
}

/// An instance that cannot be made is no matter of types: calling it will say what it is.
fn check_types(linked: &Linked) -> wasmtime::Result<()> {
    let context = nobody();
    let mut store = run::fresh(linked, DESCRIBE_MEMORY_BYTES);
    let lent = run::lend(&mut store, nothing(&context));
    let (Ok(()), Ok(instance)) = (lent, run::instantiate(linked, &mut store)) else { return Ok(()) };
    let store = &mut store;
    match linked.exports {
        Exports::Reducer { describe, init, reduce, on_timer, query, migrate } => {
            fits::<(), reduction::Description>(store, instance, describe)?;
            fits::<(Told<'_>, &[u8]), Answer<()>>(store, instance, init)?;
            fits::<(Told<'_>, &[u8]), Answer<Vec<u8>>>(store, instance, reduce)?;
            fits::<(Told<'_>, &[u8], &[u8]), Answer<()>>(store, instance, on_timer)?;
            fits::<(Told<'_>, &[u8]), Answer<Vec<u8>>>(store, instance, query)?;
            match migrate {
                Some(migrate) => fits::<(Told<'_>, &str, &[u8]), Answer<()>>(store, instance, migrate),
                None => Ok(()),
            }
        }
        Exports::Validator { describe, validate } => {
            fits::<(), validation::Description>(store, instance, describe)?;
            fits::<(Told<'_>, &[u8], &[u8], &types::Change), Answer<()>>(store, instance, validate)
        }
    }
}

type Told<'a> = &'a types::Context;

fn fits<P, R>(
    store: &mut Store<Guest>,
    instance: Instance,
    export: ComponentExportIndex,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lower,
    (R,): ComponentNamedList + Lift,
{
    instance.get_typed_func::<P, (R,)>(store, export).map(|_| ())
}

/// No state, no writes, fuel in plenty.
fn nothing(context: &Context) -> Lent<'_> {
    let quotas = Quotas { memory_bytes: DESCRIBE_MEMORY_BYTES, ..Policy::default().quotas };
    let overlay = Overlay::new(State::default(), quotas, Access::Read);
    Lent { context, overlay, fuel: DESCRIBE_FUEL, validator: None }
}

/// The context of a component that is described: no community yet.
fn nobody() -> Context {
    Context {
        community: CommunityId(0),
        sequence: Sequence(0),
        time: Timestamp::default(),
        actor: Actor::default(),
        session: SessionId(0),
        number: OperationNumber(0),
    }
}
