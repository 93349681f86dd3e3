//! One pass over a component: validates it, counts its parts, notes what the depth limit needs.

use super::{
    AdmissionError, bounds, malformed,
    world::{MIGRATION, REDUCTION, VALIDATION},
};
use crate::{config::FEATURES, depth};
use std::collections::BTreeMap;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentAliasSectionReader, ComponentCanonicalSectionReader,
    ComponentExternalKind, ComponentImportSectionReader, ComponentOuterAliasKind, ComponentTypeRef,
    CompositeInnerType, ElementItems, ElementSectionReader, Encoding, FuncToValidate, FuncValidator,
    FuncValidatorAllocations, FunctionBody, ImportSectionReader, Instance, InstanceSectionReader, Operator,
    OperatorsReader, Parser, Payload, TypeRef, TypeSectionReader, ValidPayload, Validator,
    ValidatorResources, WasmFeatures, component_types::ComponentEntityType, types::Types,
};

const WASM_PAGE_BYTES: u64 = 65_536;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// What the component imports.
    pub(super) imports: Vec<String>,
    /// The interfaces it exports, each with its functions.
    pub(super) exports: BTreeMap<String, Vec<String>>,
    /// Its core modules, in order; all of them are at the top level.
    pub(crate) modules: Vec<ModulePlan>,
    /// For each core instance made of a module: which module.
    pub(crate) instances: Vec<u32>,
    /// Linear memory all instances begin with, in bytes.
    pub(crate) memory_bytes: u64,
}

/// What the depth limit needs to know of a core module.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModulePlan {
    /// How many functions come before the module's own.
    pub(crate) imported_functions: u32,
    /// How many globals there are, imports included.
    pub(crate) globals: u32,
    /// Its own functions, in order.
    pub(crate) functions: Vec<FunctionPlan>,
    /// Bytes of code.
    pub(crate) code_bytes: u64,
    memory_bytes: u64,
}

/// What the depth limit needs to know of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FunctionPlan {
    /// What one frame of it is charged, in bytes of stack.
    pub(crate) cost: u32,
    /// Whether it is charged at all: not so a small function that calls nothing.
    pub(crate) guarded: bool,
}

/// How many of what.
#[derive(Default)]
struct Count(u64);

impl Count {
    fn add(&mut self, more: u32, what: &'static str, max: u64) -> Result<(), AdmissionError> {
        self.0 += u64::from(more);
        within(what, self.0, max)
    }
}

#[derive(Default)]
struct Counts {
    component_types: Count,
    component_items: Count,
    nested: Count,
    types: Count,
    functions: Count,
    imports: Count,
    exports: Count,
    globals: Count,
    memories: Count,
    tables: Count,
    data_segments: Count,
    element_segments: Count,
    elements: Count,
    instances: Count,
}

/// Where the walk is: the component itself, one inside of it, or a core module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Nested,
    Module,
}

#[derive(Default)]
struct Walk {
    survey: Survey,
    counts: Counts,
    places: Vec<Place>,
    allocations: FuncValidatorAllocations,
}

/// Surveys a component.
pub(super) fn survey(bytes: &[u8]) -> Result<Survey, AdmissionError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut walk = Walk::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| refused(bytes, &error))?;
        let valid = validator.payload(&payload).map_err(|error| refused(bytes, &error))?;
        walk.count(&payload)?;
        match valid {
            ValidPayload::Func(function, body) => walk.function(bytes, function, &body)?,
            ValidPayload::End(types) if walk.places.is_empty() => walk.exports(&types),
            _ => {}
        }
    }
    walk.finish()
}

/// Invalid here: also with every feature on?
fn refused(bytes: &[u8], error: &wasmparser::Error) -> AdmissionError {
    let valid_elsewhere = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_ok();
    if valid_elsewhere { AdmissionError::Feature { what: error.to_string() } } else { malformed(error) }
}

impl Walk {
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), AdmissionError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.places.push(match (encoding, self.places.is_empty()) {
                    (Encoding::Module, _) => Place::Module,
                    (Encoding::Component, true) => Place::Root,
                    (Encoding::Component, false) => Place::Nested,
                });
                Ok(())
            }
            Payload::End(_) => {
                self.places.pop();
                Ok(())
            }
            Payload::ModuleSection { .. } => {
                self.only_at_root("a core module in a nested component")?;
                self.survey.modules.push(ModulePlan::default());
                within("core modules", self.survey.modules.len() as u64, bounds::MODULES_MAX)
            }
            Payload::ComponentSection { .. } => {
                self.counts.nested.add(1, "nested components and instances", bounds::NESTED_MAX)
            }
            _ if self.places.last() == Some(&Place::Module) => self.count_in_module(payload),
            _ => self.count_in_component(payload),
        }
    }

    fn only_at_root(&self, what: &'static str) -> Result<(), AdmissionError> {
        if self.places.last() == Some(&Place::Root) { Ok(()) } else { Err(AdmissionError::Unusual { what }) }
    }

    fn count_in_component(&mut self, payload: &Payload<'_>) -> Result<(), AdmissionError> {
        const ITEMS: &str = "component items";
        let counts = &mut self.counts;
        match payload {
            Payload::ComponentTypeSection(types) => {
                counts.component_types.add(types.count(), "component types", bounds::COMPONENT_TYPES_MAX)
            }
            Payload::CoreTypeSection(types) => {
                counts.component_types.add(types.count(), "component types", bounds::COMPONENT_TYPES_MAX)
            }
            Payload::ComponentInstanceSection(instances) => {
                counts.nested.add(instances.count(), "nested components and instances", bounds::NESTED_MAX)
            }
            Payload::ComponentExportSection(exports) => {
                counts.component_items.add(exports.count(), ITEMS, bounds::COMPONENT_ITEMS_MAX)?;
                for export in exports.clone() {
                    if export.map_err(|error| malformed(&error))?.kind == ComponentExternalKind::Module {
                        return Err(AdmissionError::Unusual { what: "an exported core module" });
                    }
                }
                Ok(())
            }
            Payload::ComponentImportSection(imports) => {
                counts.component_items.add(imports.count(), ITEMS, bounds::COMPONENT_ITEMS_MAX)?;
                self.component_imports(imports.clone())
            }
            Payload::ComponentAliasSection(aliases) => {
                counts.component_items.add(aliases.count(), ITEMS, bounds::COMPONENT_ITEMS_MAX)?;
                component_aliases(aliases.clone())
            }
            Payload::ComponentCanonicalSection(functions) => {
                counts.component_items.add(functions.count(), ITEMS, bounds::COMPONENT_ITEMS_MAX)?;
                canonical_functions(functions.clone())
            }
            Payload::InstanceSection(instances) => {
                counts.instances.add(instances.count(), "core instances", bounds::INSTANCES_MAX)?;
                self.only_at_root("a core instance in a nested component")?;
                self.core_instances(instances.clone())
            }
            _ => Ok(()),
        }
    }

    fn component_imports(&mut self, imports: ComponentImportSectionReader<'_>) -> Result<(), AdmissionError> {
        for import in imports {
            let import = import.map_err(|error| malformed(&error))?;
            if matches!(import.ty, ComponentTypeRef::Module(_)) {
                return Err(AdmissionError::Unusual { what: "an imported core module" });
            }
            if self.places.last() == Some(&Place::Root) {
                self.survey.imports.push(import.name.name.to_owned());
            }
        }
        Ok(())
    }

    fn core_instances(&mut self, instances: InstanceSectionReader<'_>) -> Result<(), AdmissionError> {
        for instance in instances {
            if let Instance::Instantiate { module_index, .. } = instance.map_err(|error| malformed(&error))? {
                self.survey.instances.push(module_index);
            }
        }
        Ok(())
    }

    fn count_in_module(&mut self, payload: &Payload<'_>) -> Result<(), AdmissionError> {
        let counts = &mut self.counts;
        let Some(module) = self.survey.modules.last_mut() else { return Ok(()) };
        match payload {
            Payload::TypeSection(types) => {
                counts.types.add(types.count(), "types", bounds::TYPES_MAX)?;
                signatures(types.clone())
            }
            Payload::ImportSection(imports) => {
                counts.imports.add(imports.count(), "imports", bounds::IMPORTS_MAX)?;
                module_imports(module, imports.clone())
            }
            Payload::FunctionSection(functions) => {
                counts.functions.add(functions.count(), "functions", bounds::FUNCTIONS_MAX)
            }
            Payload::TableSection(tables) => counts.tables.add(tables.count(), "tables", bounds::TABLES_MAX),
            Payload::MemorySection(memories) => {
                counts.memories.add(memories.count(), "memories", bounds::MEMORIES_MAX)?;
                for memory in memories.clone() {
                    let memory = memory.map_err(|error| malformed(&error))?;
                    module.memory_bytes += memory.initial.saturating_mul(WASM_PAGE_BYTES).min(1 << 40);
                }
                Ok(())
            }
            Payload::GlobalSection(globals) => {
                module.globals += globals.count();
                counts.globals.add(globals.count(), "globals", bounds::GLOBALS_MAX)
            }
            Payload::ExportSection(exports) => {
                counts.exports.add(exports.count(), "exports", bounds::EXPORTS_MAX)
            }
            Payload::DataSection(segments) => {
                counts.data_segments.add(segments.count(), "data segments", bounds::DATA_SEGMENTS_MAX)
            }
            Payload::ElementSection(segments) => {
                counts.element_segments.add(
                    segments.count(),
                    "element segments",
                    bounds::ELEMENT_SEGMENTS_MAX,
                )?;
                elements(&mut counts.elements, segments.clone())
            }
            Payload::CodeSectionStart { size, .. } => {
                module.code_bytes = u64::from(*size);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Validates a function, measures it, and decides what its frames cost.
    fn function(
        &mut self,
        component: &[u8],
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), AdmissionError> {
        let bytes = body.as_bytes().len() as u64;
        within("bytes in one function", bytes, bounds::BODY_BYTES_MAX)?;
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let measure = measure(&mut validator, body).map_err(|error| match error {
            Measured::Invalid(error) => refused(component, &error),
            Measured::Refused(error) => error,
        })?;
        self.allocations = validator.into_allocations();
        if let Some(module) = self.survey.modules.last_mut() {
            module.functions.push(depth::plan(measure.slots, measure.calls));
        }
        Ok(())
    }

    /// Notes the functions of each interface of the world that the component exports.
    fn exports(&mut self, types: &Types) {
        let types = types.as_ref();
        for interface in [REDUCTION, MIGRATION, VALIDATION] {
            let Some(item) = types.component_item_for_export(interface) else { continue };
            if let ComponentEntityType::Instance(id) = item.ty {
                let functions = types[id]
                    .exports
                    .iter()
                    .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
                let names = functions.map(|(name, _)| name.clone());
                self.survey.exports.insert(interface.to_owned(), names.collect());
            }
        }
    }

    fn finish(mut self) -> Result<Survey, AdmissionError> {
        for &module in &self.survey.instances {
            let plan = self.survey.modules.get(module as usize);
            let plan = plan.ok_or(AdmissionError::Unusual { what: "a core module that is not its own" })?;
            self.survey.memory_bytes += plan.memory_bytes;
        }
        Ok(self.survey)
    }
}

/// What a frame of a function holds.
struct Measure {
    /// Parameters, locals and the highest operand stack together.
    slots: u32,
    /// Whether it calls anything.
    calls: bool,
}

enum Measured {
    Invalid(wasmparser::Error),
    Refused(AdmissionError),
}

impl From<wasmparser::Error> for Measured {
    fn from(error: wasmparser::Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<AdmissionError> for Measured {
    fn from(error: AdmissionError) -> Self {
        Self::Refused(error)
    }
}

fn measure(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
) -> Result<Measure, Measured> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    let locals = validator.len_locals();
    within("locals in one function", locals.into(), bounds::LOCALS_MAX)?;
    let (mut height, mut targets, mut calls) = (0, 0, false);
    let mut operators = OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        validator.op(offset, &operator)?;
        height = height.max(validator.operand_stack_height());
        within("nested blocks", validator.control_stack_height().into(), bounds::NESTING_MAX)?;
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } => calls = true,
            Operator::BrTable { targets: table } => {
                targets += u64::from(table.len());
                within("branch targets in one function", targets, bounds::BRANCH_TARGETS_MAX)?;
            }
            _ => {}
        }
    }
    operators.finish()?;
    Ok(Measure { slots: locals.saturating_add(height), calls })
}

fn within(what: &'static str, found: u64, max: u64) -> Result<(), AdmissionError> {
    if found <= max { Ok(()) } else { Err(AdmissionError::TooMany { what, found, max }) }
}

fn component_aliases(aliases: ComponentAliasSectionReader<'_>) -> Result<(), AdmissionError> {
    for alias in aliases {
        let of_module = match alias.map_err(|error| malformed(&error))? {
            ComponentAlias::InstanceExport { kind, .. } => kind == ComponentExternalKind::Module,
            ComponentAlias::Outer { kind, .. } => kind == ComponentOuterAliasKind::CoreModule,
            ComponentAlias::CoreInstanceExport { .. } => false,
        };
        if of_module {
            return Err(AdmissionError::Unusual { what: "an alias of a core module" });
        }
    }
    Ok(())
}

/// Resources would be a table in the host that a guest can fill; no world of ours has any.
fn canonical_functions(functions: ComponentCanonicalSectionReader<'_>) -> Result<(), AdmissionError> {
    for function in functions {
        match function.map_err(|error| malformed(&error))? {
            CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. } => {}
            _ => return Err(AdmissionError::Unusual { what: "a resource or another built-in" }),
        }
    }
    Ok(())
}

fn signatures(types: TypeSectionReader<'_>) -> Result<(), AdmissionError> {
    for group in types {
        for sub_type in group.map_err(|error| malformed(&error))?.types() {
            if let CompositeInnerType::Func(function) = &sub_type.composite_type.inner {
                within("parameters", function.params().len() as u64, bounds::SIGNATURE_MAX)?;
                within("results", function.results().len() as u64, bounds::SIGNATURE_MAX)?;
            }
        }
    }
    Ok(())
}

fn module_imports(module: &mut ModulePlan, imports: ImportSectionReader<'_>) -> Result<(), AdmissionError> {
    for import in imports.into_imports() {
        match import.map_err(|error| malformed(&error))?.ty {
            TypeRef::Func(_) => module.imported_functions += 1,
            TypeRef::Global(_) => module.globals += 1,
            _ => {}
        }
    }
    Ok(())
}

fn elements(count: &mut Count, segments: ElementSectionReader<'_>) -> Result<(), AdmissionError> {
    for segment in segments {
        let entries = match segment.map_err(|error| malformed(&error))?.items {
            ElementItems::Functions(functions) => functions.count(),
            ElementItems::Expressions(_, expressions) => expressions.count(),
        };
        count.add(entries, "element segment entries", bounds::ELEMENTS_MAX)?;
    }
    Ok(())
}
