;; A reducer that is told what to do by the bytes of its operations, of its timers and of what it is asked.
;;
;; A payload is a row of calls to the host, 28 bytes each: which one, and six numbers that are handed over as
;; they are, pointers and lengths too. What is left over, less than that, begins with the pointer to what is
;; returned. The first payload of a call lies at 65,536 or soon after, with nothing in front of it but the context.
(module
  (import "althing:reducer/state@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "althing:reducer/state@0.1.0" "set" (func $set (param i32 i32 i32 i32)))
  (import "althing:reducer/state@0.1.0" "delete" (func $delete (param i32 i32)))
  (import "althing:reducer/state@0.1.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32)))
  (import "althing:reducer/events@0.1.0" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "althing:reducer/timers@0.1.0" "schedule" (func $schedule (param i32 i32 i64 i32 i32 i32)))
  (import "althing:reducer/timers@0.1.0" "cancel" (func $cancel (param i32 i32) (result i32)))
  (import "althing:reducer/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 512) "values1.0true")

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $grow)))
    (local.get $at))

  (func $number (param $at i32) (param $place i32) (result i32)
    (i32.load (i32.add (local.get $at) (i32.add (i32.const 4) (i32.shl (local.get $place) (i32.const 2))))))

  (func $call (param $at i32)
    (local $0 i32) (local $1 i32) (local $2 i32) (local $3 i32) (local $4 i32) (local $5 i32)
    (local.set $0 (call $number (local.get $at) (i32.const 0)))
    (local.set $1 (call $number (local.get $at) (i32.const 1)))
    (local.set $2 (call $number (local.get $at) (i32.const 2)))
    (local.set $3 (call $number (local.get $at) (i32.const 3)))
    (local.set $4 (call $number (local.get $at) (i32.const 4)))
    (local.set $5 (call $number (local.get $at) (i32.const 5)))
    (block $log_ (block $cancel_ (block $schedule_ (block $emit_ (block $scan_ (block $delete_ (block $set_ (block $get_
      (br_table $get_ $set_ $delete_ $scan_ $emit_ $schedule_ $cancel_ $log_
        (i32.and (i32.load8_u (local.get $at)) (i32.const 7))))
      ;; get
      (call $get (local.get $0) (local.get $1) (local.get $2)) (return))
      ;; set
      (call $set (local.get $0) (local.get $1) (local.get $2) (local.get $3)) (return))
      ;; delete
      (call $delete (local.get $0) (local.get $1)) (return))
      ;; scan
      (call $scan (local.get $0) (local.get $1) (local.get $2) (local.get $3) (local.get $4) (local.get $5)
        (i32.const 2048)) (return))
      ;; emit
      (call $emit (local.get $0) (local.get $1) (local.get $2) (local.get $3)) (return))
      ;; schedule
      (call $schedule (local.get $0) (local.get $1) (i64.extend_i32_s (local.get $2)) (local.get $3)
        (local.get $4) (local.get $5)) (return))
      ;; cancel
      (drop (call $cancel (local.get $0) (local.get $1))) (return))
      ;; log
      (call $log (local.get $0) (local.get $1) (local.get $2)))

  (func $obey (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done (loop $more
      (br_if $done (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 28)))
      (call $call (local.get $at))
      (local.set $at (i32.add (local.get $at) (i32.const 28)))
      (br $more)))
    ;; Too little left over: an acceptance of nothing.
    (if (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 4))
      (then (i64.store (i32.const 1024) (i64.const 0)) (i32.store (i32.const 1032) (i32.const 0))
        (return (i32.const 1024))))
    (i32.load (local.get $at)))

  (func $text (param $field i32) (param $at i32) (param $length i32)
    (i32.store (i32.add (i32.const 2048) (local.get $field)) (local.get $at))
    (i32.store (i32.add (i32.const 2052) (local.get $field)) (local.get $length)))
  (func (export "althing:reducer/reduction@0.1.0#describe") (result i32)
    (call $text (i32.const 0) (i32.const 512) (i32.const 6))
    (call $text (i32.const 8) (i32.const 518) (i32.const 3))
    (call $text (i32.const 20) (i32.const 521) (i32.const 4))
    (call $text (i32.const 28) (i32.const 521) (i32.const 4))
    (call $text (i32.const 36) (i32.const 521) (i32.const 4))
    (call $text (i32.const 44) (i32.const 521) (i32.const 4))
    (call $text (i32.const 52) (i32.const 521) (i32.const 4))
    (call $text (i32.const 60) (i32.const 521) (i32.const 4))
    (i32.const 2048))
  (func (export "althing:reducer/reduction@0.1.0#init")
    (param i64 i64 i64 i32 i32 i32 i32 i32 i64 i64) (param $at i32) (param $length i32) (result i32)
    (call $obey (local.get $at) (local.get $length)))
  (func (export "althing:reducer/reduction@0.1.0#reduce")
    (param i64 i64 i64 i32 i32 i32 i32 i32 i64 i64) (param $at i32) (param $length i32) (result i32)
    (call $obey (local.get $at) (local.get $length)))
  (func (export "althing:reducer/reduction@0.1.0#on-timer")
    (param i64 i64 i64 i32 i32 i32 i32 i32 i64 i64) (param i32 i32) (param $at i32) (param $length i32)
    (result i32)
    (call $obey (local.get $at) (local.get $length)))
  (func (export "althing:reducer/reduction@0.1.0#query")
    (param i64 i64 i64 i32 i32 i32 i32 i32 i64 i64) (param $at i32) (param $length i32) (result i32)
    (call $obey (local.get $at) (local.get $length)))
)
