//! The caller's pointers, each checked for null before it is used. Only C can make one, so only here is it trusted.
#![allow(unsafe_code, reason = "the arguments of a C function are raw pointers")]

use std::ffi::{CStr, c_char, c_uint};
use std::ptr;

use crate::abi::{Answer, INSUFFICIENT_SIZE, INVALID_ARGUMENT, Return};

/// A pointer to one or more `T` of the caller.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// # Errors
    ///
    /// INVALID_ARGUMENT for null.
    pub(crate) fn check(self) -> Answer {
        if self.is_null() { Err(INVALID_ARGUMENT) } else { Ok(()) }
    }

    pub(crate) fn set(self, value: T) -> Answer {
        self.check()?;
        // SAFETY: a pointer that a C caller passes to NVML is null or good for what the function's prototype says.
        unsafe { self.0.write(value) };
        Ok(())
    }

    pub(crate) fn get(self) -> Result<T, Return> {
        self.check()?;
        // SAFETY: as above; what is read is what nvml.h asks the caller to fill in.
        Ok(unsafe { self.0.read() })
    }

    /// The pointer to the `index`th of an array.
    pub(crate) fn at(self, index: usize) -> Self {
        Self(self.0.wrapping_add(index))
    }

    /// Fills an array from its start. The caller has told its length, and `items` are no more.
    pub(crate) fn fill(self, items: impl IntoIterator<Item = T>) -> Answer {
        items.into_iter().enumerate().try_for_each(|(index, item)| self.at(index).set(item))
    }

    /// What lies behind a `T` that is the head of a longer struct.
    pub(crate) fn tail<U>(self) -> Out<U> {
        Out(self.0.wrapping_add(1).cast())
    }
}

/// A buffer for text, whose length is another argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct TextOut(*mut c_char);

impl TextOut {
    /// Writes `text` and its NUL.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT for null, INSUFFICIENT_SIZE if it does not fit.
    pub(crate) fn write(self, length: c_uint, text: &str) -> Answer {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        if text.len() >= length as usize {
            return Err(INSUFFICIENT_SIZE);
        }
        // SAFETY: the caller's buffer has `length` bytes, and the text with its NUL is no longer.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), self.0.cast(), text.len());
            self.0.add(text.len()).write(0);
        }
        Ok(())
    }
}

/// A text of the caller that ends with a NUL.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct TextIn(*const c_char);

impl TextIn {
    pub(crate) fn read(self) -> Result<String, Return> {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: NVML's text arguments end with a NUL, and the caller keeps them for the length of the call.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| INVALID_ARGUMENT)
    }
}
