//! How large the parts of a component may be.
//!
//! Far above what compilers make (the largest seen: CPython, 18 MB), far below what makes the
//! compiler explode: 31 KB of 2,000 locals and 2,000 back-edges compile for more than 200 seconds.
//! What slips through is stopped by the compiler process's own limits (`compile`).

/// Most core modules in a component.
pub(super) const MODULES_MAX: u64 = 64;
/// Most core instances of a component, those that only regroup exports included.
pub(super) const INSTANCES_MAX: u64 = 256;
/// Most nested components, and instances of them.
pub(super) const NESTED_MAX: u64 = 128;
/// Most types of a component, at all levels together.
pub(super) const COMPONENT_TYPES_MAX: u64 = 10_000;
/// Most imports, exports, aliases and canonical functions of a component, at all levels together.
pub(super) const COMPONENT_ITEMS_MAX: u64 = 50_000;
/// Most types of all modules.
pub(super) const TYPES_MAX: u64 = 20_000;
/// Most functions of all modules, imports included.
pub(super) const FUNCTIONS_MAX: u64 = 60_000;
/// Most imports of all modules.
pub(super) const IMPORTS_MAX: u64 = 20_000;
/// Most exports of all modules.
pub(super) const EXPORTS_MAX: u64 = 60_000;
/// Most globals of all modules.
pub(super) const GLOBALS_MAX: u64 = 60_000;
/// Most data segments of all modules.
pub(super) const DATA_SEGMENTS_MAX: u64 = 60_000;
/// Most element segments of all modules.
pub(super) const ELEMENT_SEGMENTS_MAX: u64 = 10_000;
/// Most entries of all element segments.
pub(super) const ELEMENTS_MAX: u64 = 1 << 20;
/// Most memories of all modules.
pub(super) const MEMORIES_MAX: u64 = 8;
/// Most tables of all modules.
pub(super) const TABLES_MAX: u64 = 64;
/// Largest function body, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = 1 << 20;
/// Most locals of a function, parameters included.
pub(super) const LOCALS_MAX: u64 = 4_096;
/// Most `br_table` targets of a function, all its tables together.
pub(super) const BRANCH_TARGETS_MAX: u64 = 32_768;
/// Deepest nesting of blocks in a function.
pub(super) const NESTING_MAX: u64 = 4_096;
/// Most parameters, and most results, of a function type.
pub(super) const SIGNATURE_MAX: u64 = 256;
