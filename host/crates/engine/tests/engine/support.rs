//! Guests for tests: a few lines of core wasm text, made a component with the real `wit/`.

use althing_core::{
    actor::Actor,
    batch::{ProgramManifest, ValidatorManifest},
    ids::{CommunityId, Hash, OperationNumber, Sequence, SessionId},
    overlay::{Access, Overlay},
    policy::{Policy, Quotas},
    program::{Call, Context, End, Fault, Program, Run},
    state::{Keyspace, State},
    time::Timestamp,
    transition::Trap,
};
use althing_engine::{Engine, EngineOptions, PrepareError, WasmProgram, thread::on_guest_thread};
use bytes::Bytes;
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Fuel that is enough for everything that ends.
pub(crate) const FUEL: u64 = 1_000_000_000;

/// The parameters of a context, as the canonical ABI flattens them.
const CONTEXT: &str = "(param $community i64) (param $sequence i64) (param $millis i64) (param $counter i32)
    (param $actor i32) (param $actor_len i32) (param $roles i32) (param $roles_len i32)
    (param $session i64) (param $number i64)";

/// A reducer, in parts that a test replaces.
#[derive(Clone)]
pub(crate) struct Reducer {
    /// `describe`'s instance scope: 0 per operation, 1 per batch.
    pub(crate) scope: u32,
    /// Body of `reduce`, with `$op` and `$op_len`; must leave a result pointer.
    pub(crate) reduce: String,
    /// Body of `query`, like `reduce`.
    pub(crate) query: String,
    /// Body of `on-timer`.
    pub(crate) on_timer: String,
    /// Body of `cabi_realloc`, with `$old $old_size $align $size`; must leave a pointer.
    pub(crate) realloc: String,
    /// Items of the module: functions, globals, tables, …
    pub(crate) items: String,
    /// Initial pages of memory.
    pub(crate) pages: u32,
    /// JSON schema of operations, 2 to 60 bytes.
    pub(crate) schema: String,
    /// Whether `migration` is exported.
    pub(crate) migrates: bool,
}

/// Bumps a pointer, growing memory as it must.
const REALLOC: &str = "
    (local $at i32)
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $grow)))
    (local.get $at)";

impl Default for Reducer {
    fn default() -> Self {
        Self {
            scope: 0,
            reduce: "(call $ok (local.get $op) (local.get $op_len))".into(),
            query: "(call $ok (local.get $op) (local.get $op_len))".into(),
            on_timer: "(call $done)".into(),
            realloc: REALLOC.into(),
            items: String::new(),
            pages: 2,
            schema: "true".into(),
            migrates: false,
        }
    }
}

impl Reducer {
    /// A reducer whose `reduce` is `body`.
    pub(crate) fn reduce(body: &str) -> Self {
        Self { reduce: body.into(), ..Self::default() }
    }

    pub(crate) fn per_batch(self) -> Self {
        Self { scope: 1, ..self }
    }

    /// The core module.
    pub(crate) fn wat(&self) -> String {
        let Self { scope, reduce, query, on_timer, realloc, items, pages, schema, migrates } = self;
        let schema_len = schema.len();
        let schema = schema.replace('"', "\\22");
        let migration = if *migrates {
            format!(
                r#"(func (export "althing:reducer/migration@0.1.0#migrate") {CONTEXT}
                     (param $from i32) (param $from_len i32) (param $op i32) (param $op_len i32) (result i32)
                     (call $set (local.get $from) (local.get $from_len) (local.get $op) (local.get $op_len))
                     (call $done))"#
            )
        } else {
            String::new()
        };
        format!(
            r#"(module
  (import "althing:reducer/state@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "althing:reducer/state@0.1.0" "set" (func $set (param i32 i32 i32 i32)))
  (import "althing:reducer/state@0.1.0" "delete" (func $delete (param i32 i32)))
  (import "althing:reducer/state@0.1.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32)))
  (import "althing:reducer/events@0.1.0" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "althing:reducer/timers@0.1.0" "schedule" (func $schedule (param i32 i32 i64 i32 i32 i32)))
  (import "althing:reducer/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") {pages})
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 512) "guest1.0{schema}")
  (data (i32.const 640) "no-such-thing")
  {items}
  ;; ok(result): at 1024
  (func $ok (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.store (i32.const 1028) (local.get $at))
    (i32.store (i32.const 1032) (local.get $len))
    (i32.const 1024))
  (func $done (result i32) (i32.store8 (i32.const 1024) (i32.const 0)) (i32.const 1024))
  (func $reject (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 640)) (i32.store (i32.const 1032) (i32.const 13))
    (i32.store (i32.const 1036) (i32.const 640)) (i32.store (i32.const 1040) (i32.const 13))
    (i32.const 1024))
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32) {realloc})
  (func $text (param $field i32) (param $at i32) (param $len i32)
    (i32.store (i32.add (i32.const 2048) (local.get $field)) (local.get $at))
    (i32.store (i32.add (i32.const 2052) (local.get $field)) (local.get $len)))
  (func (export "althing:reducer/reduction@0.1.0#describe") (result i32)
    (call $text (i32.const 0) (i32.const 512) (i32.const 5))
    (call $text (i32.const 8) (i32.const 517) (i32.const 3))
    (i32.store8 (i32.const 2064) (i32.const {scope}))
    (call $text (i32.const 20) (i32.const 520) (i32.const {schema_len}))
    (call $text (i32.const 28) (i32.const 520) (i32.const {schema_len}))
    (call $text (i32.const 36) (i32.const 520) (i32.const {schema_len}))
    (call $text (i32.const 44) (i32.const 520) (i32.const {schema_len}))
    (call $text (i32.const 52) (i32.const 520) (i32.const {schema_len}))
    (call $text (i32.const 60) (i32.const 520) (i32.const {schema_len}))
    (i32.const 2048))
  (func (export "althing:reducer/reduction@0.1.0#init") {CONTEXT} (param $op i32) (param $op_len i32)
    (result i32) (call $done))
  (func (export "althing:reducer/reduction@0.1.0#reduce") {CONTEXT} (param $op i32) (param $op_len i32)
    (result i32) {reduce})
  (func (export "althing:reducer/reduction@0.1.0#on-timer") {CONTEXT} (param $id i32) (param $id_len i32)
    (param $op i32) (param $op_len i32) (result i32) {on_timer})
  (func (export "althing:reducer/reduction@0.1.0#query") {CONTEXT} (param $op i32) (param $op_len i32)
    (result i32) {query})
  {migration}
)"#
        )
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let world = if self.migrates { "migrating-reducer" } else { "reducer" };
        component(&self.wat(), world)
    }
}

/// A validator; `body` has `$args`, a pointer to all arguments, and must leave a result pointer.
pub(crate) fn validator(body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module
  (import "althing:reducer/state@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "althing:reducer/state@0.1.0" "set" (func $set (param i32 i32 i32 i32)))
  (import "althing:reducer/before@0.1.0" "get" (func $get_before (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 512) "guard2.0true")
  (data (i32.const 640) "not-allowed")
  (func $done (result i32) (i32.store8 (i32.const 1024) (i32.const 0)) (i32.const 1024))
  (func $reject (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 640)) (i32.store (i32.const 1032) (i32.const 11))
    (i32.store (i32.const 1036) (i32.const 640)) (i32.store (i32.const 1040) (i32.const 11))
    (i32.const 1024))
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32) {REALLOC})
  (func $text (param $field i32) (param $at i32) (param $len i32)
    (i32.store (i32.add (i32.const 2048) (local.get $field)) (local.get $at))
    (i32.store (i32.add (i32.const 2052) (local.get $field)) (local.get $len)))
  (func (export "althing:reducer/validation@0.1.0#describe") (result i32)
    (call $text (i32.const 0) (i32.const 512) (i32.const 5))
    (call $text (i32.const 8) (i32.const 517) (i32.const 3))
    (call $text (i32.const 16) (i32.const 520) (i32.const 4))
    (i32.const 2048))
  (func (export "althing:reducer/validation@0.1.0#validate") (param $args i32) (result i32) {body})
)"#
    );
    component(&wat, "validator")
}

/// A component of a core module in text, with the metadata of a world.
pub(crate) fn component(wat: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit");
    let (package, _) = resolve.push_dir(&wit).expect("wit/ is valid");
    let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
    let mut module = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata fits");
    let encoder = ComponentEncoder::default().module(&module).expect("the module is of the world");
    encoder.validate(true).encode().expect("the component encodes")
}

/// An engine in memory.
pub(crate) fn engine() -> Engine {
    Engine::new(EngineOptions::default()).expect("the engine runs here")
}

/// Prepares a component and names it.
pub(crate) fn prepare(engine: &Engine, component: &[u8]) -> Result<Hash, PrepareError> {
    let hash = Hash::of_component(component);
    engine.prepare(hash, component)?;
    Ok(hash)
}

/// The manifest of a program.
pub(crate) fn manifest(reducer: Hash, validators: &[Hash]) -> ProgramManifest {
    let validators = validators
        .iter()
        .map(|component| ValidatorManifest { component: *component, config: Bytes::from_static(b"limit") });
    ProgramManifest {
        reducer,
        validators: validators.collect(),
        config: Bytes::new(),
        name: "guest".into(),
        version: "1.0".into(),
    }
}

/// A program of a reducer alone.
pub(crate) fn load(engine: &Engine, reducer: &Reducer) -> WasmProgram {
    let hash = prepare(engine, &reducer.component()).unwrap_or_else(|error| panic!("{error}"));
    engine.load(&manifest(hash, &[])).expect("it is prepared")
}

pub(crate) fn context(sequence: u64) -> Context {
    Context {
        community: CommunityId(7),
        sequence: Sequence(sequence),
        time: Timestamp::new(1_790_000_000_000 + sequence, 3),
        actor: Actor { id: "ann".into(), roles: vec!["chair".into(), "member".into()] },
        session: SessionId(5),
        number: OperationNumber(sequence),
    }
}

pub(crate) fn quotas() -> Quotas {
    Policy::default().quotas
}

/// A state with these pairs.
pub(crate) fn state(pairs: &[(&str, &str)]) -> State {
    let mut state = State::default();
    for (key, value) in pairs {
        state.put(Keyspace::Program, key.as_bytes(), Some(Bytes::copy_from_slice(value.as_bytes())));
    }
    state
}

/// Reduces one payload over `state`.
pub(crate) fn reduce_over(
    program: &mut WasmProgram,
    state: State,
    payload: &[u8],
    fuel: u64,
) -> Result<Run, Fault> {
    let overlay = Overlay::new(state, quotas(), Access::Write);
    let call = Call::Reduce { payload: Bytes::copy_from_slice(payload) };
    on_guest_thread(|| program.run(&context(1), call, overlay, fuel))
}

/// Reduces one payload over nothing.
pub(crate) fn reduce(program: &mut WasmProgram, payload: &[u8]) -> Run {
    reduce_over(program, State::default(), payload, FUEL).expect("the host has no fault")
}

/// The trap that a run ended with.
pub(crate) fn trap(run: &Run) -> &Trap {
    match &run.end {
        End::Trap(trap) => trap,
        other => panic!("a trap was expected, not {other:?}"),
    }
}

/// The result that a run ended with.
pub(crate) fn accepted(run: &Run) -> &[u8] {
    match &run.end {
        End::Accept(result) => result,
        other => panic!("acceptance was expected, not {other:?}"),
    }
}
