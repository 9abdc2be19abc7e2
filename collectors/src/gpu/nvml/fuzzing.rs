//! Properties of what is made of a driver's structs.
#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use std::cell::RefCell;
use std::ffi::{c_char, c_uint};
use std::{mem, ptr};

use nvml_wrapper_sys::bindings as raw;

use super::fields::whole;
use super::instances::text;
use super::processes::fill;
use crate::fuzzing::input::Input;

thread_local!(static NAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });

/// A driver that writes all that it has room for, and no zero behind it.
unsafe extern "C" fn write_name(_: raw::nvmlDevice_t, room: *mut c_char, length: c_uint) -> raw::nvmlReturn_t {
    NAME.with_borrow(|name| {
        // SAFETY: the caller has room for `length` bytes.
        unsafe { ptr::copy_nonoverlapping(name.as_ptr(), room.cast(), name.len().min(length as usize)) };
    });
    0
}

/// Whatever a driver says: a text is what it wrote up to the first zero, or none; a number is one that was written; and
/// a list takes no more room than any GPU needs.
pub(crate) fn nvml_answers(data: &[u8]) {
    let mut input = Input::new(data);
    let (form, bits, calls) = (u32::from(input.byte()), input.number(8), input.bytes(12));

    // SAFETY: a union of numbers, for which zero is a value.
    let mut value: raw::nvmlValue_t = unsafe { mem::zeroed() };
    value.ullVal = bits;
    let number = whole(form, &value);
    let expected = match form {
        0 => number.filter(|number| (*number as f64 - f64::from_bits(bits)).abs() <= 0.5),
        1 => Some(bits & 0xffff_ffff),
        2 | 3 => Some(bits),
        4 => i64::try_from(bits).ok().map(i64::cast_unsigned),
        5 => u64::try_from(bits as i32).ok(),
        6 => Some(bits & 0xffff),
        _ => None,
    };
    assert_eq!(number, expected, "form {form} of {bits:#x}, {}", f64::from_bits(bits));

    let mut calls = Input::new(calls);
    let mut room: Vec<u32> = Vec::new();
    for _ in 0..2 {
        let mut given = 0;
        let filled = fill(&mut room, |count, room| {
            given = room.len();
            *count = calls.any_number() as u32;
            [0, 7, 15][usize::from(calls.byte()) % 3]
        });
        assert!(filled.is_err() || filled.is_ok_and(|filled| filled.len() <= given));
        assert!(given <= 4096 && room.len() <= 4096);
    }

    let name = input.rest();
    NAME.replace(name.to_vec());
    let told = text(&(write_name as _), ptr::null_mut()).expect("it answers");
    let expected = name[..name.len().min(96)].split(|byte| *byte == 0).next().unwrap_or_default();
    assert_eq!(told.as_str(), str::from_utf8(expected).unwrap_or_default());
}
