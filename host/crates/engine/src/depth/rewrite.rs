//! One core module, rewritten: a global, a function that traps, and guards around function bodies.
//!
//! Sections that need no change are copied byte for byte, and so is every instruction but `return`.
//! What is added comes last in its index space, so no index changes. A guarded body
//!
//! ```wat
//! body
//! ```
//!
//! becomes
//!
//! ```wat
//! global.get $left  i32.const cost  i32.sub  local.tee $new  global.set $left
//! local.get $new  i32.const 0  i32.lt_s  if  call $too-deep  end
//! block (result …)  body, with `return` as a branch to this block  end
//! global.get $left  i32.const cost  i32.add  global.set $left
//! ```
//!
//! The block takes the place of the function's own label, so the depths of branches stay right. A
//! trap leaves the global as it is: the instance is discarded.

use super::TOO_DEEP;
use crate::admission::{AdmissionError, FunctionPlan, ModulePlan};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, Encode, Function, FunctionSection, GlobalSection, GlobalType, Module,
    NameMap, NameSection, RawSection, TypeSection, ValType,
    reencode::{Reencode, RoundtripReencoder},
};
use wasmparser::{
    CodeSectionReader, CompositeInnerType, FuncType, FunctionBody, FunctionSectionReader,
    GlobalSectionReader, Operator, Parser, Payload, TypeSectionReader,
};

/// Section ids before which the global section must stand.
const AFTER_GLOBALS: [u8; 6] = [7, 8, 9, 10, 11, 12];

struct Rewrite<'a> {
    plan: &'a ModulePlan,
    budget: u32,
    module: Module,
    types: Vec<FuncType>,
    /// The type of each own function.
    functions: Vec<u32>,
    /// For each type: the type without its parameters, where a block needs one.
    block_types: Vec<Option<u32>>,
    /// The type of the function that traps.
    trap_type: u32,
    globals_written: bool,
}

/// The module with guards; as it was, but for custom sections, if no function needs one.
pub(super) fn module(bytes: &[u8], plan: &ModulePlan, budget: u32) -> Result<Vec<u8>, AdmissionError> {
    let mut rewrite = Rewrite {
        plan,
        budget,
        module: Module::new(),
        types: Vec::new(),
        functions: Vec::new(),
        block_types: Vec::new(),
        trap_type: 0,
        globals_written: false,
    };
    let guarded = plan.functions.iter().any(|function| function.guarded);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| lost(&error))?;
        if matches!(payload, Payload::CustomSection(_)) {
            continue;
        }
        if !guarded || !rewrite.section(bytes, &payload)? {
            rewrite.copy(bytes, &payload);
        }
    }
    if guarded {
        rewrite.names();
    }
    Ok(rewrite.module.finish())
}

/// The survey has parsed all of this before.
fn lost(error: &dyn std::fmt::Display) -> AdmissionError {
    AdmissionError::Malformed { what: error.to_string() }
}

impl Rewrite<'_> {
    fn copy(&mut self, bytes: &[u8], payload: &Payload<'_>) {
        if let Some((id, range)) = payload.as_section() {
            self.module.section(&RawSection { id, data: &bytes[range] });
        }
    }

    /// Writes a section that changes; false for one that does not.
    fn section(&mut self, bytes: &[u8], payload: &Payload<'_>) -> Result<bool, AdmissionError> {
        if let Some((id, _)) = payload.as_section()
            && AFTER_GLOBALS.contains(&id)
            && !self.globals_written
        {
            self.globals(None)?;
        }
        match payload {
            Payload::TypeSection(types) => self.types(types.clone())?,
            Payload::FunctionSection(functions) => self.functions(functions.clone())?,
            Payload::GlobalSection(globals) => self.globals(Some(globals.clone()))?,
            Payload::CodeSectionStart { range, .. } => self.code(&bytes[range.clone()])?,
            Payload::CodeSectionEntry(_) => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn types(&mut self, types: TypeSectionReader<'_>) -> Result<(), AdmissionError> {
        let mut section = TypeSection::new();
        for group in types.clone() {
            for sub_type in group.map_err(|error| lost(&error))?.types() {
                let CompositeInnerType::Func(function) = &sub_type.composite_type.inner else {
                    return Err(lost(&"a type that is no function's"));
                };
                self.types.push(function.clone());
            }
        }
        RoundtripReencoder.parse_type_section(&mut section, types).map_err(|error| lost(&error))?;
        for function in &self.types {
            self.block_types.push((function.results().len() > 1).then(|| section.len()));
            if function.results().len() > 1 {
                let results = RoundtripReencoder
                    .val_types(function.results().to_vec())
                    .map_err(|error| lost(&error))?;
                section.ty().function([], results);
            }
        }
        self.trap_type = section.len();
        section.ty().function([], []);
        self.module.section(&section);
        Ok(())
    }

    fn functions(&mut self, functions: FunctionSectionReader<'_>) -> Result<(), AdmissionError> {
        let mut section = FunctionSection::new();
        for of_type in functions {
            let of_type = of_type.map_err(|error| lost(&error))?;
            section.function(of_type);
            self.functions.push(of_type);
        }
        section.function(self.trap_type);
        self.module.section(&section);
        Ok(())
    }

    fn globals(&mut self, globals: Option<GlobalSectionReader<'_>>) -> Result<(), AdmissionError> {
        let mut section = GlobalSection::new();
        if let Some(globals) = globals {
            RoundtripReencoder.parse_global_section(&mut section, globals).map_err(|error| lost(&error))?;
        }
        let left = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        section.global(left, &ConstExpr::i32_const(self.budget.cast_signed()));
        self.module.section(&section);
        self.globals_written = true;
        Ok(())
    }

    fn code(&mut self, bytes: &[u8]) -> Result<(), AdmissionError> {
        let mut section = CodeSection::new();
        let reader = wasmparser::BinaryReader::new(bytes, 0);
        let bodies = CodeSectionReader::new(reader).map_err(|error| lost(&error))?;
        for (index, body) in bodies.into_iter().enumerate() {
            let body = body.map_err(|error| lost(&error))?;
            let (Some(plan), Some(&of_type)) = (self.plan.functions.get(index), self.functions.get(index))
            else {
                return Err(lost(&"a function without a plan"));
            };
            if plan.guarded {
                section.function(&self.guarded(&body, *plan, of_type).map_err(|error| lost(&error))?);
            } else {
                section.raw(body.as_bytes());
            }
        }
        let mut too_deep = Function::new([]);
        too_deep.instructions().unreachable().end();
        section.function(&too_deep);
        self.module.section(&section);
        Ok(())
    }

    fn guarded(
        &self,
        body: &FunctionBody<'_>,
        plan: FunctionPlan,
        of_type: u32,
    ) -> Result<Function, wasmparser::Error> {
        let function = &self.types[of_type as usize];
        let mut locals = Vec::new();
        let mut count = function.params().len() as u32;
        for group in body.get_locals_reader()? {
            let (repeat, of_type) = group?;
            count += repeat;
            locals.push((
                repeat,
                RoundtripReencoder.val_type(of_type).expect("the features have no other type"),
            ));
        }
        locals.push((1, ValType::I32));
        let mut guarded = Function::new(locals);
        self.enter(&mut guarded, plan.cost.cast_signed(), count);
        guarded.instructions().block(self.block_type(of_type));
        copy_body(&mut guarded, body)?;
        self.leave(&mut guarded, plan.cost.cast_signed());
        Ok(guarded)
    }

    fn enter(&self, function: &mut Function, cost: i32, new: u32) {
        let too_deep = self.plan.imported_functions + self.plan.functions.len() as u32;
        let left = self.plan.globals;
        let mut code = function.instructions();
        code.global_get(left).i32_const(cost).i32_sub().local_tee(new).global_set(left);
        code.local_get(new).i32_const(0).i32_lt_s().if_(BlockType::Empty).call(too_deep).end();
    }

    fn leave(&self, function: &mut Function, cost: i32) {
        let left = self.plan.globals;
        function.instructions().global_get(left).i32_const(cost).i32_add().global_set(left).end();
    }

    fn block_type(&self, of_type: u32) -> BlockType {
        match (self.block_types[of_type as usize], self.types[of_type as usize].results()) {
            (Some(block), _) => BlockType::FunctionType(block),
            (None, [result]) => BlockType::Result(
                RoundtripReencoder.val_type(*result).expect("the features have no other type"),
            ),
            (None, _) => BlockType::Empty,
        }
    }

    /// Names the function that traps, and no other, so that no guest can pretend to be it.
    fn names(&mut self) {
        let mut functions = NameMap::new();
        functions.append(self.plan.imported_functions + self.plan.functions.len() as u32, TOO_DEEP);
        let mut names = NameSection::new();
        names.functions(&functions);
        self.module.section(&names);
    }
}

/// Copies the instructions, the last `end` included, with `return` as a branch to the outermost label.
fn copy_body(function: &mut Function, body: &FunctionBody<'_>) -> Result<(), wasmparser::Error> {
    let bytes = body.as_bytes();
    let start = body.range().start;
    let mut operators = body.get_operators_reader()?;
    let mut copied = operators.original_position() - start;
    let mut depth = 0_u32;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
            Operator::End => depth = depth.saturating_sub(1),
            Operator::Return => {
                function.raw(bytes[copied..offset - start].iter().copied());
                let mut branch = vec![0x0c];
                depth.encode(&mut branch);
                function.raw(branch);
                copied = operators.original_position() - start;
            }
            _ => {}
        }
    }
    function.raw(bytes[copied..].iter().copied());
    Ok(())
}
